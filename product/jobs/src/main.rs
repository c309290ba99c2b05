//! The jobs service as a process of its own.

use clap::Parser;

#[derive(Parser)]
#[command(name = "faultline-jobs", version, about = "Receipts and webhooks for payments")]
struct Cli {
    #[command(flatten)]
    jobs: product_jobs::Args,
    #[command(flatten)]
    observe: observe::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let telemetry = observe::init(product_jobs::SERVICE, &cli.observe)?;
    let ended = product_jobs::run(cli.jobs, observe::shutdown_signal()).await;
    telemetry.shutdown().await;
    ended
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_settings_of_all_parts_fit_into_one_command() {
        super::Cli::command().debug_assert();
    }
}
