//! The acquirer: approves or declines charges after a latency of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// `service.name` of this process.
pub const SERVICE: &str = "acquirer";

/// Settings of the acquirer stub.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address it listens on.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LISTEN", default_value = "127.0.0.1:7010")]
    pub acquirer_listen: SocketAddr,
    /// Median of its answer time, milliseconds: a card network at its usual pace. Lognormal around it.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LATENCY_MEDIAN_MS", default_value_t = 20.0)]
    pub acquirer_latency_median_ms: f64,
    /// Spread of the answer time: standard deviation of its natural logarithm. 0.5 puts p99 near 3.2 medians.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LATENCY_SIGMA", default_value_t = 0.5)]
    pub acquirer_latency_sigma: f64,
    /// Seed of the answer times; the same seed and payment wait the same time.
    #[arg(long, env = "FAULTLINE_ACQUIRER_SEED", default_value_t = 1)]
    pub acquirer_seed: u64,
    /// Folder of all data; charges live in `product/acquirer.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The stub with its listener bound and its database open.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    pub async fn bind(_args: Args) -> anyhow::Result<Server> {
        todo!()
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn run(self, _stop: CancellationToken) -> anyhow::Result<()> {
        todo!()
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}
