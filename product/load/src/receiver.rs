//! The merchant's webhook receiver: keeps what arrives and recognises what it already has.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// `service.name` of this process.
pub const SERVICE: &str = "receiver";

/// Settings of the webhook receiver.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address it listens on.
    #[arg(long, env = "FAULTLINE_RECEIVER_LISTEN", default_value = "127.0.0.1:7011")]
    pub receiver_listen: SocketAddr,
    /// Folder of all data; what was received lives in `product/receiver.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The receiver with its listener bound and its database open.
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
