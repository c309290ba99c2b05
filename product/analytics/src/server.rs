//! The service as a whole: its parts, opened in order and stopped together.

use std::net::SocketAddr;

use product_bus::Topic;
use product_bus::consumer::{self, ConsumerConfig};
use product_bus::database::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::handler::Analytics;
use crate::{Args, SERVICE, facts, http};

/// What is consumed, with the partitions that core creates.
const TOPICS: [&str; 2] = ["users", "payments"];
const PARTITIONS: i32 = 4;

/// The service with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    operator_token: Option<String>,
    consumer: ConsumerConfig,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let listener = observe::http::listen(args.analytics_listen, "--analytics-listen").await?;
        let address = listener.local_addr()?;
        let file = args.data_dir.join("product/analytics.db");
        let database = Database::open(args.analytics_database_url.as_deref(), &file).await?;
        database.migrate(&facts::migrations(database.dialect())).await?;
        let topics = TOPICS.map(|name| Topic { name: name.to_owned(), partitions: PARTITIONS });
        info!(server.address = %address.ip(), server.port = address.port(), "analytics is listening on {address}");
        let consumer = ConsumerConfig::new(args.kafka, SERVICE, topics.into());
        Ok(Server { listener, address, database, operator_token: args.operator_token, consumer })
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
        let Server { listener, database, operator_token, consumer, .. } = self;
        let router = http::router(database.clone(), operator_token.as_deref());
        let serve = observe::http::serve(listener, router, stop.clone());
        let consume = consumer::run(consumer, database.clone(), Analytics::new(), stop);
        // A consumer that cannot go on takes the interface with it.
        tokio::try_join!(consume, async {
            serve.await;
            Ok(())
        })?;
        database.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}
