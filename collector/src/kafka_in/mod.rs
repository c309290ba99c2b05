//! Kafka in: export requests from topics. An offset is committed when all before it is durable here or among the dead letters:
//! after a crash what was not committed is read again, and may be there twice.
//!
//! A consumer has a `seat` in its group and knows the `positions` of the partitions that are ours. `reading` has several messages
//! in hand at once, so that group commits are worth it; each `message` goes the way of every request, and waits where a client
//! would be told to come back. One that never can be kept goes to the `dead_letters`. `account` counts and says what is wrong.

mod account;
mod args;
mod dead_letters;
mod message;
mod positions;
mod reading;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use tokio_util::sync::CancellationToken;

pub(crate) use account::{Account, Progress, TopicProgress};
pub use args::Args;

use crate::collector::Collector;
use crate::kafka_client;
use crate::sinks::{self, Pace};
use args::Topic;
use dead_letters::DeadLetters;
use message::Keeper;
use reading::Reading;
use seat::Seat;

/// After a crash what was kept since is read again; five commits a second are little for a broker.
const COMMIT_INTERVAL_MS: &str = "200";
/// Fetched ahead of what is in hand, kilobytes: a few hundred milliseconds of work.
const AHEAD_KBYTES_MAX: &str = "16384";
/// The answer to one fetch is at least this large for librdkafka, bytes; larger when one request may be.
const ANSWER_BYTES_MIN: usize = 100_000_000;
/// What an answer has around one message, bytes.
const AROUND_BYTES: usize = 1 << 20;
/// A new consumer after one that could not go on.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// For a broker to hear that we leave; without a word it notices when the session times out.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Kafka in that is set and does not read yet.
pub(crate) struct KafkaIn {
    client: ClientConfig,
    group: String,
    topics: Vec<Topic>,
    dead_letters: DeadLetters,
    in_hand_max: usize,
    account: Arc<Account>,
}

impl KafkaIn {
    /// None when no servers are set. A setting that makes no sense is an error; a broker that is not there is not.
    pub(crate) fn new(args: &Args, sinks: &sinks::Args) -> anyhow::Result<Option<KafkaIn>> {
        let Some(servers) = &args.kafka_in_servers else { return Ok(None) };
        let set = KafkaIn::reading(servers, args, sinks);
        set.context("the settings of Kafka in make no sense").map(Some)
    }

    fn reading(servers: &str, args: &Args, sinks: &sinks::Args) -> anyhow::Result<KafkaIn> {
        let topics = args.topics()?;
        for topic in &topics {
            if sinks.sends_to(servers, &topic.name)? {
                bail!("--kafka-out-servers sends to {}, which is read from: it would go round for ever", topic.name);
            }
        }
        let client = kafka_client::config(servers, args.kafka_in_config.as_deref())?;
        let dead_letters = DeadLetters::new(&client, &args.kafka_in_dead_letter_topic)?;
        let account = Arc::new(Account::new(servers, &topics, args.kafka_in_messages_max));
        let group = args.kafka_in_group.clone();
        Ok(KafkaIn { client, group, topics, dead_letters, in_hand_max: args.kafka_in_messages_max, account })
    }

    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account)
    }

    /// Until stopped. What is in hand then is finished, and its offsets are committed.
    pub(crate) async fn run(self, collector: Arc<Collector>, stop: CancellationToken) {
        let KafkaIn { client, group, topics, dead_letters, in_hand_max, account } = self;
        let limits = &collector.limits;
        let (drain_max, bytes_max) = (limits.drain_time_max(), limits.otlp_request_bytes_max);
        let keeper =
            Arc::new(Keeper { collector: Arc::clone(&collector), dead_letters, account: Arc::clone(&account) });
        let mut pace = Pace::new(RETRY_MIN, RETRY_MAX);
        while !stop.is_cancelled() {
            let seat = Seat::new(&topics, &account);
            let outcome = match consumer(&client, &group, &topics, bytes_max, seat) {
                Ok(consumer) => {
                    let reading = Reading::new(&consumer, Arc::clone(&keeper), in_hand_max, stop.clone());
                    let outcome = reading.run(drain_max).await;
                    close(consumer).await;
                    outcome
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                account.away(&format!("{error:#}"));
                stop.run_until_cancelled(tokio::time::sleep(pace.failed(None))).await;
            }
        }
    }
}

fn consumer(
    client: &ClientConfig,
    group: &str,
    topics: &[Topic],
    bytes_max: usize,
    seat: Seat,
) -> anyhow::Result<StreamConsumer<Seat>> {
    let mut config = client.clone();
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        // It commits what the seat tells it, by its clock, before a partition leaves and at the end.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", COMMIT_INTERVAL_MS)
        .set("enable.auto.offset.store", "false")
        // A member that comes or goes moves only the partitions that change hands.
        .set("partition.assignment.strategy", "cooperative-sticky")
        // By its heartbeat a member hears that the group gathers again: half a second is what a rebalance waits for. One that
        // died is replaced after six.
        .set("heartbeat.interval.ms", "500")
        .set("session.timeout.ms", "6000")
        .set("queued.max.messages.kbytes", AHEAD_KBYTES_MAX)
        .set("receive.message.max.bytes", (bytes_max.saturating_add(AROUND_BYTES)).max(ANSWER_BYTES_MIN).to_string())
        // A topic that is made while we run is found.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("statistics.interval.ms", "1000");
    let consumer: StreamConsumer<Seat> = config.create_with_context(seat).context("could not make a Kafka consumer")?;
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    consumer.subscribe(&names).context("could not ask for the topics")?;
    Ok(consumer)
}

/// Commits and leaves the group, which talks to the broker: on a thread of its own, because librdkafka can wait for long for one
/// that is gone, and a runtime that ends waits for its blocking threads.
async fn close(consumer: StreamConsumer<Seat>) {
    let (done, closed) = tokio::sync::oneshot::channel();
    let closing = move || {
        drop(consumer);
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("kafka-in-close".to_owned()).spawn(closing).is_ok() {
        let _ = tokio::time::timeout(CLOSE_MAX, closed).await;
    }
}
