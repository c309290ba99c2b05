//! The work that a payment sets off: a receipt and a webhook, each done once per event.
//!
//! Consumes `payments`, writes receipts as HTML files and tells the merchant's webhook receiver.
//! What is a payment and when it changes is decided by core; this crate only reacts.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// `service.name` of this process.
pub const SERVICE: &str = "jobs";

/// Settings of the jobs service.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the HTTP interface: health, receipts, counted effects.
    #[arg(long, env = "FAULTLINE_JOBS_LISTEN", default_value = "127.0.0.1:7002")]
    pub jobs_listen: SocketAddr,
    /// Where webhooks are sent: base URL of the receiver.
    #[arg(long, env = "FAULTLINE_WEBHOOK_URL", default_value = "http://127.0.0.1:7011")]
    pub webhook_url: String,
    /// Folder of all data; receipts and databases live in `product/` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The service with its listener bound and its databases open.
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
