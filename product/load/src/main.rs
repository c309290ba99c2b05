//! The world outside the product, each part of it as a process of its own.

use clap::{Parser, Subcommand};
use product_load::{acquirer, customers, proxy, receiver};

#[derive(Parser)]
#[command(name = "faultline-load", version, about = "Customers, acquirer, receiver and a bad network")]
struct Cli {
    #[command(subcommand)]
    part: Part,
    #[command(flatten)]
    observe: observe::Args,
}

#[derive(Subcommand)]
enum Part {
    /// Send believable requests at a steady average rate.
    Customers(customers::Args),
    /// Answer charges and refunds.
    Acquirer(acquirer::Args),
    /// Collect webhooks and mail.
    Receiver(receiver::Args),
    /// Forward TCP over a bad network.
    Proxy(proxy::Args),
}

impl Part {
    fn service(&self) -> &'static str {
        match self {
            Part::Customers(_) => customers::SERVICE,
            Part::Acquirer(_) => acquirer::SERVICE,
            Part::Receiver(_) => receiver::SERVICE,
            Part::Proxy(_) => proxy::SERVICE,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let telemetry = observe::init(cli.part.service(), &cli.observe)?;
    let stop = observe::shutdown_signal();
    let ended = match cli.part {
        Part::Customers(args) => customers::run(args, stop).await,
        Part::Acquirer(args) => acquirer::run(args, stop).await,
        Part::Receiver(args) => receiver::run(args, stop).await,
        Part::Proxy(args) => proxy::run(args, stop).await,
    };
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
