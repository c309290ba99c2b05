//! Where the brokers are, the topics on them, and which cluster they are.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::Client,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::debug;

/// One question to a broker.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(3);

/// For the answer to any request that a broker does not hold back on purpose.
const SOCKET_TIMEOUT_MS: &str = "10000";

#[derive(clap::Args, Clone, Debug)]
pub struct KafkaArgs {
    /// Kafka brokers, `host:port` separated by commas. The default is the embedded broker of `faultline up`.
    #[arg(long, env = "FAULTLINE_BOOTSTRAP_SERVERS", default_value = "127.0.0.1:7092")]
    pub bootstrap_servers: String,

    /// Put before the names of topics and consumer groups, such as `shop.`, where several products share a cluster. Chosen
    /// once for a set of databases: another prefix is another log.
    #[arg(long, env = "FAULTLINE_TOPIC_PREFIX", hide_short_help = true)]
    pub topic_prefix: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
}

impl KafkaArgs {
    /// Brokers that nobody shares with us.
    pub fn at(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), topic_prefix: None }
    }

    /// What a topic or a group of ours is called there. Applied where names meet the client, so that an outbox and whoever
    /// writes to it know nothing of it.
    pub(crate) fn name(&self, ours: &str) -> String {
        format!("{}{ours}", self.topic_prefix.as_deref().unwrap_or_default())
    }

    pub(crate) fn topics(&self, ours: Vec<Topic>) -> Vec<Topic> {
        ours.into_iter().map(|topic| Topic { name: self.name(&topic.name), ..topic }).collect()
    }

    /// What producers and consumers share. Reconnecting is quick: a broker of this machine is back in a moment.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // A question that got lost is asked again before anybody's patience ends; Kafka's own default is a minute.
            .set("socket.timeout.ms", SOCKET_TIMEOUT_MS)
            .set("socket.nagle.disable", "true")
            .set_log_level(RDKafkaLogLevel::Critical); // an outage is logged once, by whoever meets it
        config
    }
}

/// A context that leaves it to the session to say that the broker is away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet;

impl ConsumerContext for Quiet {}

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
    }
}

/// Creates what is missing; what exists stays as it is.
pub async fn create_topics(kafka: &KafkaArgs, topics: &[Topic]) -> anyhow::Result<()> {
    let admin: AdminClient<Quiet> = kafka.client().create_with_context(Quiet)?;
    let wanted: Vec<_> =
        topics.iter().map(|topic| NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(1))).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX));
    let results = admin.create_topics(&wanted, &options).await.context("could not create topics")?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => anyhow::bail!("could not create topic {name}: {code}"),
        }
    }
    Ok(())
}

/// A producer or a consumer that can be asked on a blocking thread.
pub(crate) trait Connected: Send + Sync + 'static {
    type Context: ClientContext;
    fn connection(&self) -> &Client<Self::Context>;
}

/// The id of the cluster that answers now. librdkafka keeps the id it knows; fresh metadata renews it.
pub(crate) async fn cluster_id(client: &Arc<impl Connected>) -> anyhow::Result<String> {
    ask(client, |client| {
        client.fetch_metadata(None, ANSWER_MAX).context("no broker answers")?;
        client.fetch_cluster_id(ANSWER_MAX).context("the broker does not tell its cluster id")
    })
    .await
}

/// Whether `cluster` is who answers. False when nobody does in time: on a busy machine that means little, and whoever
/// gave up its connections for it would only add to the load. An error when another cluster answers.
pub(crate) async fn answers(client: &Arc<impl Connected>, cluster: &str) -> anyhow::Result<bool> {
    let Ok(now) = cluster_id(client).await else { return Ok(false) };
    anyhow::ensure!(now == cluster, "the broker is another cluster now");
    Ok(true)
}

/// One past the last offset of a partition.
pub(crate) async fn end_offset(client: &Arc<impl Connected>, topic: &str, partition: i32) -> anyhow::Result<i64> {
    let topic = topic.to_owned();
    ask(client, move |client| {
        let (_, end) = client
            .fetch_watermarks(&topic, partition, ANSWER_MAX)
            .with_context(|| format!("could not read the end of {topic}/{partition}"))?;
        Ok(end)
    })
    .await
}

async fn ask<T: Send + 'static, K: Connected>(
    client: &Arc<K>,
    question: impl FnOnce(&Client<K::Context>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let client = client.clone();
    tokio::task::spawn_blocking(move || question(client.connection())).await?
}
