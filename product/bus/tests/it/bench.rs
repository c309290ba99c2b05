//! What the tests stand on: a broker that can be killed and come back, a product with an outbox, a consumer that
//! writes down its effects.

use std::{collections::HashMap, net::SocketAddr, sync::Mutex, time::Duration};

use product_bus::{
    Event, KafkaArgs, Topic,
    broker::{self, Broker},
    consumer::{self, ConsumerConfig, Handler, HandlerError},
    database::{Database, Dialect},
    outbox,
};
use serde_json::{Value, json};
use sqlx::AnyConnection;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Nothing here takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn topic() -> Topic {
    Topic { name: "things".to_owned(), partitions: 2 }
}

/// A running part.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn spawn<F>(start: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(start(stop.clone())), stop }
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("an orderly end");
    }
}

pub(crate) struct TestBroker {
    pub(crate) address: SocketAddr,
    running: Running,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub(crate) async fn start_at(listen: SocketAddr) -> Self {
        let broker = Broker::bind(broker::Args { broker_listen: listen }).await.expect("a free port");
        let address = broker.address();
        Self { address, running: Running::spawn(|stop| broker.run(stop)) }
    }

    /// All connections break; everything it knew is gone.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.running.end().await;
        self.address
    }

    pub(crate) fn kafka(&self) -> KafkaArgs {
        KafkaArgs { bootstrap_servers: self.address.to_string() }
    }
}

/// Something that makes events.
pub(crate) struct Product {
    pub(crate) database: Database,
    waker: outbox::Waker,
    relay: Running,
}

impl Product {
    pub(crate) async fn start(database: Database, kafka: KafkaArgs) -> Self {
        outbox::migrate(&database).await.expect("tables");
        let relay = outbox::Relay::new(database.clone(), kafka, "test", vec![topic()]);
        let waker = relay.waker();
        Self { database, waker, relay: Running::spawn(|stop| relay.run(stop)) }
    }

    pub(crate) async fn say(&self, key: &str, data: Value) -> Event {
        let event = Event::new("thing.happened", key, data);
        let mut transaction = self.database.begin().await.expect("a transaction");
        outbox::enqueue(&mut transaction, &topic().name, &event).await.expect("a row");
        transaction.commit().await.expect("a commit");
        self.waker.committed();
        event
    }

    pub(crate) async fn say_all(&self, numbers: std::ops::Range<i64>) {
        for number in numbers {
            self.say(&format!("key{}", number % 5), json!({ "n": number })).await;
        }
    }

    pub(crate) async fn end(self) {
        self.relay.end().await;
    }
}

/// Appends to a table per event; fails as the event tells it to: `{"fail": 2}` twice, `{"poison": true}` for good.
pub(crate) struct Scribe {
    failures: Mutex<HashMap<uuid::Uuid, i64>>,
    effects: watch::Sender<u64>,
}

impl Handler for Scribe {
    async fn apply(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO effect (key, n) VALUES ($1, $2)")
            .bind(&event.key)
            .bind(event.data["n"].as_i64())
            .execute(transaction)
            .await?;
        if event.data["poison"] == true {
            return Err(HandlerError::Poison(anyhow::anyhow!("it is poison")));
        }
        let mut failures = self.failures.lock().expect("nobody panics here");
        let failed = failures.entry(event.id).or_default();
        *failed += 1;
        if *failed <= event.data["fail"].as_i64().unwrap_or(0) {
            return Err(HandlerError::Retry(anyhow::anyhow!("not yet ({failed})")));
        }
        drop(failures);
        self.effects.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Something that acts on events.
pub(crate) struct Consumer {
    pub(crate) database: Database,
    running: Running,
}

impl Consumer {
    pub(crate) async fn start(database: Database, kafka: KafkaArgs) -> Self {
        let id = match database.dialect() {
            Dialect::Sqlite => "INTEGER PRIMARY KEY",
            Dialect::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY",
        };
        let table = format!("CREATE TABLE IF NOT EXISTS effect (id {id}, key TEXT, n INTEGER)");
        sqlx::query(sqlx::AssertSqlSafe(table)).execute(database.writer()).await.expect("a table");
        let scribe = Scribe { failures: Mutex::default(), effects: watch::Sender::new(0) };
        let mut config = ConsumerConfig::new(kafka, "scribe", vec![topic()]);
        config.retry_delays = vec![Duration::from_millis(50), Duration::from_millis(100)];
        let for_task = database.clone();
        Self { database, running: Running::spawn(|stop| consumer::run(config, for_task, scribe, stop)) }
    }

    pub(crate) async fn effects(&self) -> Vec<(String, i64)> {
        sqlx::query_as("SELECT key, n FROM effect ORDER BY id")
            .fetch_all(self.database.readers())
            .await
            .expect("effects")
    }

    pub(crate) async fn until_effects(&self, count: usize) -> Vec<(String, i64)> {
        until(&format!("{count} effects"), async || {
            let effects = self.effects().await;
            (effects.len() >= count).then_some(effects)
        })
        .await
    }

    pub(crate) async fn end(self) {
        self.running.end().await;
    }
}

/// Asks until there is an answer. The interval is only politeness: the condition decides.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        loop {
            clock.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// What a topic holds: headers of each message.
pub(crate) async fn messages(kafka: &KafkaArgs, topic: &str, count: usize) -> Vec<HashMap<String, String>> {
    use rdkafka::{
        ClientConfig, Message, Offset, TopicPartitionList,
        consumer::{Consumer as _, StreamConsumer},
        message::Headers,
    };
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("group.id", "reader")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&partitions).expect("an assignment");
    let mut found = Vec::new();
    while found.len() < count {
        let message = tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("in time").expect("a message");
        let headers = message.headers().expect("headers").iter();
        found.push(
            headers
                .map(|header| {
                    (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
                })
                .collect(),
        );
    }
    found
}
