//! `faultline trace`: one story over services as an indented waterfall.

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// A trace id (32 hex digits), or any id that is an attribute of its spans, such as that of a payment.
    pub id: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Where the query part listens.
    #[arg(long, env = "FAULTLINE_URL", default_value = "http://127.0.0.1:7317")]
    pub url: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Otlp,
}

pub async fn run(_args: Args) -> anyhow::Result<()> {
    todo!()
}
