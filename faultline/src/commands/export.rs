//! `faultline export`: stored telemetry as OTLP/JSON, one export request a line.

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[arg(long, value_enum)]
    pub signal: Signal,
    /// First moment: RFC 3339, or relative to now as -15m, -2h, -1d. Everything when absent.
    #[arg(long, allow_hyphen_values = true)]
    pub from: Option<String>,
    /// First moment that is left out: as `--from`. Now when absent.
    #[arg(long, allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Where the query part listens.
    #[arg(long, env = "FAULTLINE_URL", default_value = "http://127.0.0.1:7317")]
    pub url: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

pub async fn run(_args: Args) -> anyhow::Result<()> {
    todo!()
}
