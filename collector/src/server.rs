//! Starts the parts in order and stops them in reverse.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::Args;

/// Binds, serves until `stop` is cancelled, drains, closes the store.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

/// A collector that holds its ports and its store but does not serve yet.
pub struct Server {}

impl Server {
    pub async fn bind(_args: Args) -> anyhow::Result<Server> {
        todo!()
    }

    pub fn grpc_address(&self) -> SocketAddr {
        todo!()
    }

    pub fn http_address(&self) -> SocketAddr {
        todo!()
    }

    pub async fn run(self, _stop: CancellationToken) -> anyhow::Result<()> {
        todo!()
    }
}
