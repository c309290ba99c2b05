//! The service as a whole: its parts, opened in order and stopped together.

use std::net::SocketAddr;

use anyhow::Context;
use product_bus::Topic;
use product_bus::consumer::{self, ConsumerConfig};
use product_bus::database::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::handler::Analytics;
use crate::{Args, SERVICE, database, http};

/// What is consumed, with the partitions that core creates.
const TOPICS: [&str; 2] = ["users", "payments"];
const PARTITIONS: i32 = 4;

/// The service with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    consumer: ConsumerConfig,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener =
            TcpListener::bind(args.analytics_listen).await.map_err(|error| unbound(args.analytics_listen, error))?;
        let address = listener.local_addr()?;
        let folder = args.data_dir.join("product");
        let database = Database::open(args.analytics_database_url.as_deref(), &folder.join("analytics.db")).await?;
        database::migrate(&database).await?;
        let topics = TOPICS.map(|name| Topic { name: name.to_owned(), partitions: PARTITIONS });
        info!(server.address = %address, "analytics is listening on {address}");
        Ok(Server { listener, address, database, consumer: ConsumerConfig::new(args.kafka, SERVICE, topics.into()) })
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handler, for whoever brings events by another way than Kafka.
    pub fn handler(&self) -> Analytics {
        Analytics::new()
    }

    /// The database that the handler changes.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Serves until `stop` is cancelled, then finishes the event in hand.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let serve = axum::serve(self.listener, http::router(self.database.clone()))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let consume = consumer::run(self.consumer, self.database.clone(), Analytics::new(), stop);
        tokio::try_join!(async { serve.await.context("the HTTP interface ended") }, consume)?;
        self.database.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

fn unbound(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return anyhow::anyhow!(
            "could not listen on {address}: address already in use; another process holds it, \
             choose another with --analytics-listen or move everything with --port-offset 10000"
        );
    }
    anyhow::Error::new(error).context(format!("could not listen on {address}"))
}
