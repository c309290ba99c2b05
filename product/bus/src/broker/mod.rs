//! The embedded broker: Kafka's protocol for this machine, its log in memory.
//!
//! Tansu speaks the protocol and keeps topics; `Memory` keeps the records, because tansu's own `memory` engine never
//! forgets one, and `Groups` coordinates consumers, because tansu's can leave a group without a leader. Each start is a new cluster: clients that compare the cluster id know that everything
//! before is gone.

mod fetch;
mod groups;
mod partition;
mod retention;
mod storage;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use rama::{Context, Layer as _, Service};
use tansu_broker::{
    Error as BrokerError,
    service::{auth, coordinator, storage as records},
};
use tansu_service::{BytesFrameLayer, FrameRouteService, TcpBytesLayer, TcpContext, TcpContextLayer};
use tansu_storage::{BrokerRegistrationRequest, Storage, StorageContainer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use url::Url;
use uuid::Uuid;

use fetch::WaitingFetch;
use groups::Groups;
use storage::Memory;

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
    address: SocketAddr,
    cluster_id: String,
    storage: Memory,
}

pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Broker::bind(args).await?.run(stop).await
}

impl Broker {
    /// Port 0 takes a free one: see [`Broker::address`].
    pub async fn bind(args: Args) -> anyhow::Result<Self> {
        let listener = observe::http::listen(args.broker_listen, "--broker-listen").await?;
        let address = listener.local_addr()?;
        let advertised = Url::parse(&format!("tcp://{address}"))?;
        let cluster_id = Uuid::now_v7().to_string();
        let directory = StorageContainer::builder()
            .cluster_id(cluster_id.clone())
            .node_id(NODE_ID)
            .advertised_listener(advertised)
            .storage(Url::parse("memory://faultline/")?)
            .silent(true)
            .build()
            .await
            .context("could not create the broker's memory")?;
        let registration = BrokerRegistrationRequest {
            broker_id: NODE_ID,
            cluster_id: cluster_id.clone(),
            incarnation_id: Uuid::new_v4(),
            rack: None,
        };
        directory.register_broker(registration).await?;
        Ok(Self { listener, address, cluster_id, storage: Memory::new(directory) })
    }

    /// What serves one connection, from bytes to answers.
    fn service(&self, groups: Groups) -> anyhow::Result<impl Service<(), TcpStream, Error = BrokerError>> {
        let routes = FrameRouteService::<(), BrokerError>::builder();
        let routes = records::services(routes, self.storage.clone())?;
        let routes = coordinator::services(routes, groups)?;
        let routes = auth::services(routes)?.build()?;
        let layers = (
            TcpContextLayer::new(TcpContext::default().cluster_id(Some(self.cluster_id.clone()))),
            TcpBytesLayer::default(),
            BytesFrameLayer::default(),
            WaitingFetch(self.storage.clone()),
        );
        Ok(layers.into_layer(routes))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then closes every connection.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        info!(server.address = %self.address.ip(), server.port = self.address.port(),
            "listening on {}, cluster {}", self.address, self.cluster_id);
        self.storage.measure();
        let groups = Groups::new(self.storage.clone());
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        loop {
            let place = places.clone().acquire_owned().await.context("the semaphore is never closed")?;
            let (stream, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!("could not accept a connection: {error}");
                        continue;
                    }
                },
                _ = stop.cancelled() => break,
            };
            stream.set_nodelay(true)?;
            let service = self.service(groups.clone())?;
            let stop = stop.clone();
            connections.spawn(async move {
                // The end of a connection is an error to tansu (end of file): a client that leaves is no news.
                let served = stop.run_until_cancelled(service.serve(Context::default(), stream)).await;
                if let Some(Err(error)) = served {
                    tracing::debug!("connection of {peer} ended: {error}");
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
        Ok(())
    }
}
