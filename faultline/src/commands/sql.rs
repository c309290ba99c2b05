//! `faultline sql`: one question, its rows on stdout.

pub(crate) mod client;
pub(crate) mod table;

use std::io::Write;

use client::{CSV, Client, JSON, Source};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// The question, for example "SELECT service, count(*) FROM spans GROUP BY service"
    pub sql: String,
    /// How rows are written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    #[command(flatten)]
    pub source: Source,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Aligned columns, as wide as the terminal
    Table,
    /// An array of objects
    Json,
    /// With a header
    Csv,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let client = Client::open(&args.source).await?;
    match args.format {
        Format::Table => {
            let (schema, batches) = client.rows(&args.sql).await?.collect().await?;
            print(table::table(&schema, &batches, table::terminal_width())?.as_bytes())
        }
        Format::Json => copy(client.sql(&args.sql, JSON).await?).await,
        Format::Csv => copy(client.sql(&args.sql, CSV).await?).await,
    }
}

/// The body of an answer to stdout as it comes.
pub(crate) async fn copy(mut response: reqwest::Response) -> anyhow::Result<()> {
    while let Some(chunk) = response.chunk().await? {
        print(&chunk)?;
    }
    Ok(())
}

/// To stdout. A reader that has seen enough (`| head`) ends the command quietly.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
