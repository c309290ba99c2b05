//! Customers: an open-loop generator of believable traffic against core.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// `service.name` of this process.
pub const SERVICE: &str = "customers";

/// Settings of the generator.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Requests a second on average; arrivals are a Poisson process, whatever the answers take.
    #[arg(long, env = "FAULTLINE_RATE", default_value_t = 50.0)]
    pub rate: f64,
    /// Seed of the plan: the same seed gives the same arrivals, customers and amounts.
    #[arg(long, env = "FAULTLINE_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Base URL of core.
    #[arg(long, env = "FAULTLINE_TARGET", default_value = "http://127.0.0.1:7001")]
    pub target: String,
    /// Requests under way at once. A request that finds no place is counted as skipped, not delayed.
    #[arg(long, env = "FAULTLINE_IN_FLIGHT_MAX", default_value_t = 256)]
    pub in_flight_max: usize,
    /// Seconds between two summaries on the log.
    #[arg(long, env = "FAULTLINE_SUMMARY_EVERY_S", default_value_t = 10)]
    pub summary_every_s: u64,
    /// Folder of all data; the ledger is `product/ledger.jsonl` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// Sends until `stop` is cancelled, then waits for the answers under way.
pub async fn run(_args: Args, _stop: CancellationToken) -> anyhow::Result<()> {
    todo!()
}
