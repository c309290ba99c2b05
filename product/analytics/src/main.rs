//! The analytics service as a process of its own.

use clap::Parser;

#[derive(Parser)]
#[command(name = "faultline-analytics", version, about = "Revenue and activity by day")]
struct Cli {
    #[command(flatten)]
    analytics: product_analytics::Args,
    #[command(flatten)]
    observe: observe::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let telemetry = observe::init(product_analytics::SERVICE, &cli.observe)?;
    let ended = product_analytics::run(cli.analytics, observe::shutdown_signal()).await;
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
