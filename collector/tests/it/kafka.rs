//! A Kafka for one test: the brokers that librdkafka has for tests, in this process and on sockets, or Apache Kafka when
//! `deploy/testbed/kafka` runs the tests. Topics and groups have names of their own.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::now_ns;

/// For an answer of a broker on this machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Kafka {
    /// None: Apache Kafka.
    pub(crate) mock: Option<MockCluster<'static, DefaultProducerContext>>,
    pub(crate) servers: String,
    prefix: String,
    partitions: i32,
    producer: FutureProducer,
}

impl Kafka {
    /// Topics of these many partitions.
    pub(crate) async fn start(partitions: i32) -> Kafka {
        let real = std::env::var("FAULTLINE_TEST_BOOTSTRAP_SERVERS").ok();
        let mock = real.is_none().then(|| MockCluster::new(1).expect("a free port"));
        let servers = real.or_else(|| mock.as_ref().map(MockCluster::bootstrap_servers)).expect("there is one");
        let producer = ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
        let kafka = Kafka { mock, servers, prefix: format!("test{}", now_ns()), partitions, producer };
        for topic in ["spans", "logs", "metrics"] {
            kafka.create(topic, partitions).await;
        }
        kafka.create("dead", 1).await;
        kafka
    }

    async fn create(&self, topic: &str, partitions: i32) {
        let name = self.name(topic);
        if let Some(mock) = &self.mock {
            return mock.create_topic(&name, partitions, 1).expect("the name is free");
        }
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.servers).create().expect("a client");
        let topics = [NewTopic::new(&name, partitions, TopicReplication::Fixed(1))];
        let made = admin.create_topics(&topics, &AdminOptions::new()).await.expect("the broker answers");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    pub(crate) fn name(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    /// What a collector is told, and `more`.
    pub(crate) fn settings(&self, more: &[&str]) -> Vec<String> {
        let [spans, logs, metrics, dead] = ["spans", "logs", "metrics", "dead"].map(|topic| self.name(topic));
        let ours = [
            format!("--kafka-in-servers={}", self.servers),
            format!("--kafka-in-topics=traces={spans},logs={logs},metrics={metrics}"),
            format!("--kafka-in-dead-letter-topic={dead}"),
            format!("--kafka-in-group={}", self.prefix),
        ];
        ours.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect()
    }

    pub(crate) async fn send(&self, topic: &str, partition: i32, value: &[u8]) {
        self.sender().send(&self.name(topic), partition, value).await;
    }

    /// One that can be used elsewhere.
    pub(crate) fn sender(&self) -> Sender {
        Sender(self.producer.clone())
    }

    /// Offsets that the group has committed, of every partition; 0 where it has none.
    pub(crate) async fn committed(&self, topic: &str) -> Vec<i64> {
        let (servers, group, name) = (self.servers.clone(), self.prefix.clone(), self.name(topic));
        let partitions = self.partitions;
        let ask = move || {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", servers)
                .set("group.id", group)
                .create()
                .expect("a client");
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&name, 0, partitions - 1);
            let committed = client.committed_offsets(list, ANSWER_MAX).expect("the broker answers");
            let offsets = committed.elements().into_iter().map(|element| match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            });
            offsets.collect()
        };
        tokio::task::spawn_blocking(ask).await.expect("it does not panic")
    }

    /// The first messages of the topic of dead letters, these many.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<OwnedMessage> {
        let (servers, name) = (self.servers.clone(), self.name("dead"));
        let read = move || {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", servers)
                .set("group.id", "reader")
                .create()
                .expect("a client");
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&name, 0, Offset::Beginning).expect("an offset");
            client.assign(&list).expect("it is assigned");
            let (start, mut letters) = (Instant::now(), Vec::new());
            while letters.len() < count {
                assert!(start.elapsed() < ANSWER_MAX, "{} of {count} dead letters", letters.len());
                let message = client.poll(Duration::from_millis(100));
                letters.extend(message.and_then(Result::ok).map(|message| message.detach()));
            }
            letters
        };
        tokio::task::spawn_blocking(read).await.expect("it does not panic")
    }
}

#[derive(Clone)]
pub(crate) struct Sender(FutureProducer);

impl Sender {
    /// Returns when the broker has it.
    pub(crate) async fn send(&self, topic: &str, partition: i32, value: &[u8]) {
        let record = FutureRecord::<str, [u8]>::to(topic).partition(partition).key("a key").payload(value);
        self.0.send(record, Timeout::Never).await.expect("the broker takes it");
    }
}

pub(crate) fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}
