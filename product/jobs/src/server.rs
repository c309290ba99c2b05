//! The service as a whole: its parts, opened in order and stopped together.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use product_bus::Topic;
use product_bus::consumer::{self, ConsumerConfig};
use product_bus::database::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::handler::Jobs;
use crate::http::{self, Interface};
use crate::receipt::Receipts;
use crate::webhook::Webhooks;
use crate::{Args, SERVICE, database};

/// The topic of payment events and its partitions, as core creates it.
const PAYMENTS: &str = "payments";
const PARTITIONS: i32 = 4;

/// Waits before a webhook is tried again. The last makes a receiver's outage of five minutes harmless; each costs a
/// topic and a reader of its own.
const RETRY_DELAYS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];

/// The service with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    jobs: Jobs,
    interface: Interface,
    consumer: ConsumerConfig,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = TcpListener::bind(args.jobs_listen).await.map_err(|error| unbound(args.jobs_listen, error))?;
        let address = listener.local_addr()?;
        let folder = args.data_dir.join("product");
        let receipts = Receipts::open(folder.join("receipts"))
            .with_context(|| format!("could not create the folder of receipts in {}", folder.display()))?;
        let database = Database::open(args.jobs_database_url.as_deref(), &folder.join("jobs.db")).await?;
        database::migrate(&database).await?;
        let webhooks = Webhooks::new(&args.webhook_url, Duration::from_millis(args.webhook_timeout_ms));
        let topics = vec![Topic { name: PAYMENTS.to_owned(), partitions: PARTITIONS }];
        info!(server.address = %address, "jobs is listening on {address}");
        Ok(Server {
            listener,
            address,
            jobs: Jobs::new(database.clone(), receipts.clone(), webhooks),
            interface: Interface { database: database.clone(), receipts },
            database,
            consumer: ConsumerConfig {
                retry_delays: RETRY_DELAYS.to_vec(),
                ..ConsumerConfig::new(args.kafka, SERVICE, topics)
            },
        })
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handler, for whoever brings events by another way than Kafka.
    pub fn handler(&self) -> Jobs {
        self.jobs.clone()
    }

    /// How events are consumed; a test shortens the delays.
    pub fn consumer(&mut self) -> &mut ConsumerConfig {
        &mut self.consumer
    }

    /// Serves until `stop` is cancelled, then finishes the event in hand.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let serve = axum::serve(self.listener, http::router(self.interface))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let consume = consumer::run(self.consumer, self.database.clone(), self.jobs, stop);
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
             choose another with --jobs-listen or move everything with --port-offset 10000"
        );
    }
    anyhow::Error::new(error).context(format!("could not listen on {address}"))
}
