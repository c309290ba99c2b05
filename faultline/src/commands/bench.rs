//! `faultline bench`: figures by the same command for us and for any other collector.

/// Settings of `faultline bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// How much an OTLP endpoint takes, and what a record costs it
    Ingest(IngestArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct IngestArgs {}

pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Ingest(_args) => todo!(),
    }
}
