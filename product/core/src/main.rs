//! Core as a process of its own; `faultline product core` runs the same.

use clap::Parser;

/// Accounts, profiles and payments over HTTP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    core: product_core::Args,
    #[command(flatten)]
    observe: observe::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let telemetry = observe::init("core", &cli.observe)?;
    let ran = product_core::run(cli.core, observe::shutdown_signal()).await;
    telemetry.shutdown().await;
    ran
}
