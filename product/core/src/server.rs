//! Starts core and ends it in order: listeners, requests, relay, database.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::Args;

/// Core with its port taken and its database open, not yet answering.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    pub async fn bind(_args: Args) -> anyhow::Result<Server> {
        todo!()
    }

    /// Where it listens; differs from the setting when that asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes what it has accepted.
    pub async fn run(self, _stop: CancellationToken) -> anyhow::Result<()> {
        todo!()
    }
}

pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}
