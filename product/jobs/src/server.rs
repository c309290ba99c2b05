//! The service as a whole: its parts, opened in order and stopped together.

use std::net::SocketAddr;
use std::time::Duration;

use product_bus::Topic;
use product_bus::consumer::{self, ConsumerConfig};
use product_bus::database::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{Args, Jobs, SERVICE, http};

/// What is consumed, with the partitions that core creates.
const TOPICS: [&str; 2] = ["users", "payments"];
const PARTITIONS: i32 = 4;

/// Waits before an effect is tried again. The last makes a receiver's outage of five minutes harmless; each costs a
/// topic and a reader of its own.
const RETRY_DELAYS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];

/// The service with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    jobs: Jobs,
    operator_token: Option<String>,
    consumer: ConsumerConfig,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = observe::http::listen(args.jobs_listen, "--jobs-listen").await?;
        let address = listener.local_addr()?;
        let file = args.data_dir.join("product/jobs.db");
        let database = Database::open(args.jobs_database_url.as_deref(), &file).await?;
        let jobs = Jobs::open(args.receivers.settings(args.data_dir), database).await?;
        let topics = TOPICS.map(|name| Topic { name: name.to_owned(), partitions: PARTITIONS });
        let consumer = ConsumerConfig {
            retry_delays: RETRY_DELAYS.to_vec(),
            ..ConsumerConfig::new(args.kafka, SERVICE, topics.into())
        };
        info!(server.address = %address.ip(), server.port = address.port(), "jobs is listening on {address}");
        Ok(Server { listener, address, jobs, operator_token: args.operator_token, consumer })
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handler, for whoever brings events by another way than Kafka.
    pub fn handler(&self) -> Jobs {
        self.jobs.clone()
    }

    /// How events are consumed; a test has short delays.
    pub fn consumer(&mut self) -> &mut ConsumerConfig {
        &mut self.consumer
    }

    /// Serves until `stop` is cancelled, then finishes the event in hand.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Server { listener, jobs, operator_token, consumer, .. } = self;
        let database = jobs.database().clone();
        let router = http::router(jobs.clone(), operator_token.as_deref());
        let serve = observe::http::serve(listener, router, stop.clone());
        let settle = jobs.settle_by_the_clock(SERVICE, stop.clone());
        let consume = consumer::run(consumer, database.clone(), jobs.clone(), stop);
        // A consumer that cannot go on takes the others with it.
        tokio::try_join!(
            consume,
            async {
                serve.await;
                Ok(())
            },
            async {
                settle.await;
                Ok(())
            }
        )?;
        database.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}
