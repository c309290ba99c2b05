//! The embedded broker: Kafka's protocol for this machine, its log in memory.
//!
//! A broker of one node that knows what librdkafka's producer, consumer and admin client ask for, and says so. Each start is
//! a new cluster: clients that compare the cluster id know that everything before is gone.

mod api;
mod batch;
mod connection;
mod error;
mod fetch;
mod groups;
mod log;
mod partition;
mod produce;
mod retention;
mod topics;
mod wire;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use uuid::Uuid;

use groups::Groups;
use log::Log;

const NODE_ID: i32 = 1;
/// A client has two or three connections; this many is dozens of clients. More wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Address of the embedded Kafka-protocol broker, for clients of this machine.
    #[arg(long, env = "FAULTLINE_BROKER_LISTEN", default_value = "127.0.0.1:7092")]
    pub broker_listen: SocketAddr,
}

/// A broker that is bound and not yet serving.
pub struct Broker {
    listener: TcpListener,
    node: Node,
}

/// What all connections share.
struct Node {
    /// Where clients are told to find it.
    address: SocketAddr,
    cluster_id: String,
    log: Arc<Log>,
    groups: Groups,
}

pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Broker::bind(args).await?.run(stop).await
}

impl Broker {
    /// Port 0 takes a free one: see [`Broker::address`].
    pub async fn bind(args: Args) -> anyhow::Result<Self> {
        let listener = observe::http::listen(args.broker_listen, "--broker-listen").await?;
        let node = Node {
            address: listener.local_addr()?,
            cluster_id: Uuid::now_v7().to_string(),
            log: Arc::new(Log::new()),
            groups: Groups::default(),
        };
        Ok(Self { listener, node })
    }

    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// Serves until `stop`; then each connection is closed after the answer it may be writing.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, node } = self;
        info!(server.address = %node.address.ip(), server.port = node.address.port(),
            "listening on {}, cluster {}", node.address, node.cluster_id);
        node.log.measure();
        let node = Arc::new(node);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        let accept = async || {
            let place = places.clone().acquire_owned().await.context("the semaphore is never closed")?;
            anyhow::Ok((place, listener.accept().await))
        };
        while let Some(accepted) = stop.run_until_cancelled(accept()).await {
            let (place, accepted) = accepted?;
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!("could not accept a connection: {error}");
                    continue;
                }
            };
            let (node, stop) = (node.clone(), stop.clone());
            connections.spawn(async move {
                connection::serve(&node, stream, peer, &stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
        Ok(())
    }
}
