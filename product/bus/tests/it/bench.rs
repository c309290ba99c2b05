//! What the tests stand on: a broker that can be killed and come back, a product with an outbox, a consumer that
//! writes down its effects.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use product_bus::{
    Event, INLINE, KafkaArgs, Topic,
    broker::{self, Broker},
    consumer::{self, ConsumerConfig, Handler, HandlerError},
    database::{Database, Dialect},
    outbox,
};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Nothing here takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// A broker with a topic and groups that no other test uses: the embedded one, or that of
/// `FAULTLINE_TEST_BOOTSTRAP_SERVERS`.
pub(crate) struct TestBroker {
    kafka: KafkaArgs,
    pub(crate) name: String,
    embedded: Option<(SocketAddr, Running)>,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        match std::env::var("FAULTLINE_TEST_BOOTSTRAP_SERVERS") {
            Ok(servers) => Self { kafka: KafkaArgs::at(servers), name, embedded: None },
            Err(_) => Self::start_at("127.0.0.1:0".parse().expect("an address"), name).await,
        }
    }

    /// The embedded one, whatever is there: it can be killed.
    pub(crate) async fn start_mortal() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), "mortal".to_owned()).await
    }

    async fn start_at(listen: SocketAddr, name: String) -> Self {
        let broker = Broker::bind(broker::Args { broker_listen: listen }).await.expect("a free port");
        let address = broker.address();
        let kafka = KafkaArgs::at(address.to_string());
        Self { kafka, name, embedded: Some((address, Running::spawn(|stop| broker.run(stop)))) }
    }

    /// The same broker under another name, with other topics and groups.
    pub(crate) fn known_as(kafka: KafkaArgs, name: String) -> Self {
        Self { kafka, name, embedded: None }
    }

    /// All connections break and everything it knew is gone; the future starts another in its place.
    pub(crate) async fn kill(self) -> impl Future<Output = Self> {
        let (address, running) = self.embedded.expect("a mortal broker");
        running.end().await;
        Self::start_at(address, self.name)
    }

    pub(crate) async fn end(self) {
        if let Some((_, running)) = self.embedded {
            running.end().await;
        }
    }

    pub(crate) fn kafka(&self) -> KafkaArgs {
        self.kafka.clone()
    }

    pub(crate) fn topic(&self) -> Topic {
        Topic { name: format!("things.{}", self.name), partitions: 4 }
    }

    pub(crate) fn group(&self) -> String {
        format!("scribe.{}", self.name)
    }
}

/// Something that makes events.
pub(crate) struct Product {
    pub(crate) database: Database,
    topic: Topic,
    waker: outbox::Waker,
    relay: Running,
}

impl Product {
    pub(crate) async fn start(database: Database, broker: &TestBroker) -> Self {
        Self::start_with(database, broker, |relay| relay).await
    }

    pub(crate) async fn start_with(
        database: Database,
        broker: &TestBroker,
        change: impl FnOnce(outbox::Relay) -> outbox::Relay,
    ) -> Self {
        outbox::migrate(&database).await.expect("tables");
        let topic = broker.topic();
        let relay = outbox::Relay::new(database.clone(), broker.kafka(), "test", vec![topic.clone()]);
        let relay = change(relay);
        let waker = relay.waker();
        Self { database, topic, waker, relay: Running::spawn(|stop| relay.run(stop)) }
    }

    pub(crate) async fn say(&self, key: &str, data: Value) -> Event {
        self.tell(Event::new("thing.happened", key, data)).await
    }

    /// An event that nobody waits for.
    pub(crate) async fn say_inline(&self, key: &str, data: Value) -> Event {
        let extensions = [("jobs".to_owned(), INLINE.to_owned())].into();
        self.tell(Event { extensions, ..Event::new("thing.happened", key, data) }).await
    }

    async fn tell(&self, event: Event) -> Event {
        let mut transaction = self.database.begin().await.expect("a transaction");
        outbox::enqueue(&mut transaction, &self.topic.name, &event).await.expect("a row");
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
/// Failures are counted in the database, so that they outlive a process.
pub(crate) struct Scribe {
    database: Database,
    effects: watch::Sender<u64>,
}

impl Handler for Scribe {
    async fn before(&self, event: &Event) -> Result<(), HandlerError> {
        let failed: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM failure WHERE event = $1")
            .bind(event.id.to_string())
            .fetch_one(self.database.readers())
            .await?;
        if failed >= event.data["fail"].as_i64().unwrap_or(0) {
            return Ok(());
        }
        sqlx::query("INSERT INTO failure (event) VALUES ($1)")
            .bind(event.id.to_string())
            .execute(self.database.writer())
            .await?;
        Err(HandlerError::Retry(anyhow::anyhow!("not yet ({})", failed + 1)))
    }

    async fn apply(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO effect (key, n) VALUES ($1, $2)")
            .bind(&event.key)
            .bind(event.data["n"].as_i64())
            .execute(transaction)
            .await?;
        if event.data["poison"] == true {
            return Err(HandlerError::Poison(anyhow::anyhow!("it is poison")));
        }
        self.effects.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Something that acts on events.
pub(crate) struct Consumer {
    pub(crate) database: Database,
    done: watch::Receiver<u64>,
    running: Running,
}

impl Consumer {
    pub(crate) async fn start(database: Database, broker: &TestBroker) -> Self {
        Self::start_patient(database, broker, [Duration::from_millis(50), Duration::from_millis(100)]).await
    }

    /// One that waits so long before each further attempt.
    pub(crate) async fn start_patient(database: Database, broker: &TestBroker, delays: [Duration; 2]) -> Self {
        let id = match database.dialect() {
            Dialect::Sqlite => "INTEGER PRIMARY KEY",
            Dialect::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY",
        };
        let effects = format!("CREATE TABLE IF NOT EXISTS effect (id {id}, key TEXT, n BIGINT)");
        for table in [effects.as_str(), "CREATE TABLE IF NOT EXISTS failure (event TEXT)"] {
            sqlx::query(AssertSqlSafe(table)).execute(database.writer()).await.expect("a table");
        }
        let scribe = Scribe { database: database.clone(), effects: watch::Sender::new(0) };
        let done = scribe.effects.subscribe();
        let mut config = ConsumerConfig::new(broker.kafka(), &broker.group(), vec![broker.topic()]);
        config.retry_delays = delays.into();
        let for_task = database.clone();
        Self { database, done, running: Running::spawn(|stop| consumer::run(config, for_task, scribe, stop)) }
    }

    pub(crate) async fn effects(&self) -> Vec<(String, i64)> {
        sqlx::query_as("SELECT key, n FROM effect ORDER BY id")
            .fetch_all(self.database.readers())
            .await
            .expect("effects")
    }

    /// Effects of this member of its group.
    pub(crate) fn done(&self) -> u64 {
        *self.done.borrow()
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

/// Puts a message on a topic as somebody might who is not us.
pub(crate) async fn put(kafka: &KafkaArgs, topic: &str, key: &[u8], headers: &[(&str, &str)], body: &[u8]) {
    use rdkafka::{
        ClientConfig,
        message::{Header, OwnedHeaders},
        producer::{FutureProducer, FutureRecord},
        util::Timeout,
    };
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap_servers).create().expect("a producer");
    let headers = headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
    let record = FutureRecord::to(topic).key(key).headers(headers).payload(body);
    producer.send(record, Timeout::After(PATIENCE)).await.expect("a delivery");
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
