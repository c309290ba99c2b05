//! `faultline sql`: one question, its rows on stdout.

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The question, for example "SELECT service, count(*) FROM spans GROUP BY service".
    pub sql: String,
    /// How rows are written.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Where the query part listens.
    #[arg(long, env = "FAULTLINE_URL", default_value = "http://127.0.0.1:7317")]
    pub url: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    Csv,
}

pub async fn run(_args: Args) -> anyhow::Result<()> {
    todo!()
}
