//! What the business asks of its events: revenue and activity by day, kept as projections.
//!
//! Consumes `users` and `payments`. Each projection is changed in the transaction that also
//! writes the inbox row, so an event counts once however often it is delivered.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// `service.name` of this process.
pub const SERVICE: &str = "analytics";

/// Settings of the analytics service.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the HTTP interface: health, revenue, activity, counted effects.
    #[arg(long, env = "FAULTLINE_ANALYTICS_LISTEN", default_value = "127.0.0.1:7003")]
    pub analytics_listen: SocketAddr,
    /// Folder of all data; the database is `product/analytics.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The service with its listener bound and its database open.
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

/// Serves until `stop` is cancelled, then finishes the event in hand.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}
