//! Puts events back on their topic: what the outbox still has, or the dead letters of a group. Consumers ignore what they
//! know, so an event that is replayed has an effect only where it had none.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use futures::future::try_join_all;
use jiff::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    client::Client,
    consumer::{Consumer, StreamConsumer},
    message::BorrowedMessage,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use tracing::{info, warn};

use crate::{
    Event, KafkaArgs,
    consumer::{dead_letter_suffix, headers, origin, original_headers},
    database::Database,
    kafka::{ANSWER_MAX, Connected, Quiet, end_offset},
    measure::{METRICS, sending},
    outbox::{Row, message_headers, published},
};

/// Events read and put back together.
const BATCH_EVENTS_MAX: i64 = 500;
/// A broker that does not take an event in this time ends the replay.
const SEND_MAX_MS: &str = "30000";

/// What `faultline product replay` is asked for; see [`run`].
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub selection: Selection,

    /// Group whose dead letters are put back, such as jobs. Without it events come from the outbox.
    #[arg(long)]
    pub dead_letters: Option<String>,

    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// Which events; everything said has to hold.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Selection {
    /// Only events that happened at this time or later, such as 2026-11-22T12:00:00Z.
    #[arg(long)]
    pub from: Option<Timestamp>,

    /// Only events that happened before this time.
    #[arg(long)]
    pub until: Option<Timestamp>,

    /// Only events of this kind, such as payment.captured.
    #[arg(long)]
    pub kind: Option<String>,

    /// Only events of this aggregate: the id of a user or a payment.
    #[arg(long)]
    pub key: Option<String>,
}

impl Selection {
    /// Nanoseconds since 1970, the end excluded.
    pub(crate) fn period_ns(&self) -> (i64, i64) {
        let ns = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
        (self.from.map_or(i64::MIN, ns), self.until.map_or(i64::MAX, ns))
    }

    fn holds(&self, event: &Event) -> bool {
        let (from, until) = self.period_ns();
        (from..until).contains(&event.time_ns)
            && self.kind.as_ref().is_none_or(|kind| *kind == event.kind)
            && self.key.as_ref().is_none_or(|key| *key == event.key)
    }
}

/// Replays and returns how many events were put back. `database` is that of the outbox, `source` what its relay calls
/// itself ("core").
pub async fn run(args: &Args, database: &Database, source: &str) -> anyhow::Result<u64> {
    match &args.dead_letters {
        Some(group) => dead_letters(&args.selection, &args.kafka, group).await,
        None => outbox(&args.selection, &args.kafka, database, source).await,
    }
}

/// Published events of the outbox, in its order. What was never published is the relay's.
pub async fn outbox(
    selection: &Selection,
    kafka: &KafkaArgs,
    database: &Database,
    source: &str,
) -> anyhow::Result<u64> {
    let producer = producer(kafka)?;
    let (mut replayed, mut after) = (0, 0);
    loop {
        let rows =
            published(database, selection, after, BATCH_EVENTS_MAX).await.context("could not read the outbox")?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        // All are handed to the client in order before the first is waited for, so their order stays.
        let sends =
            rows.into_iter().map(|row| send_row(&producer, kafka, row, source)).collect::<anyhow::Result<Vec<_>>>()?;
        replayed += try_join_all(sends).await?.len() as u64;
    }
    info!("put {replayed} events of the outbox back");
    Ok(replayed)
}

fn send_row(
    producer: &FutureProducer<Quiet>,
    kafka: &KafkaArgs,
    row: Row,
    source: &str,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let topic = kafka.name(&row.topic);
    let (event, body) = row.into_event()?;
    let headers = message_headers(&event, source);
    let record = FutureRecord::to(&topic).key(&event.key).payload(&body).headers(headers);
    let delivery = producer.send_result(record).map_err(|(error, _)| error)?;
    METRICS.republished.add(1, &sending(&topic));
    Ok(async move {
        let delivered = delivery.await.context("the producer was closed")?;
        delivered.map(drop).map_err(|(error, _)| error).with_context(|| format!("could not replay event {}", event.id))
    })
}

/// Everything that `group` gave up and that is in its dead-letter topics now, back to the topics it came from.
pub async fn dead_letters(selection: &Selection, kafka: &KafkaArgs, group: &str) -> anyhow::Result<u64> {
    let producer = producer(kafka)?;
    let consumer: StreamConsumer<Quiet> = kafka
        .client()
        .set("group.id", "faultline.replay") // reads alone and commits nothing
        .set("enable.auto.commit", "false")
        .create_with_context(Quiet)?;
    let consumer = Arc::new(consumer);
    let mut ends = ends(&consumer, &dead_letter_suffix(&kafka.name(group))).await?;
    let mut places = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        places.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let mut replayed = 0;
    while !ends.is_empty() {
        let message = consumer.recv().await?;
        let place = (message.topic().to_owned(), message.partition());
        let Some(end) = ends.get(&place).copied() else { continue };
        if message.offset() < end {
            replayed += u64::from(put_back(&producer, &message, selection).await?);
        }
        if message.offset() + 1 >= end {
            ends.remove(&place);
        }
    }
    info!("put {replayed} dead letters of {group} back");
    Ok(replayed)
}

/// Where each dead-letter partition ends now; empty ones are left out.
async fn ends(consumer: &Arc<StreamConsumer<Quiet>>, suffix: &str) -> anyhow::Result<HashMap<(String, i32), i64>> {
    let asking = consumer.clone();
    let metadata = tokio::task::spawn_blocking(move || asking.fetch_metadata(None, ANSWER_MAX));
    let metadata = metadata.await?.context("no broker answers")?;
    let mut ends = HashMap::new();
    for topic in metadata.topics().iter().filter(|topic| topic.name().ends_with(suffix)) {
        for partition in topic.partitions() {
            let end = end_offset(consumer, topic.name(), partition.id()).await?;
            if end > 0 {
                ends.insert((topic.name().to_owned(), partition.id()), end);
            }
        }
    }
    Ok(ends)
}

/// False when it was not asked for, or never was an event: that one would only die again.
async fn put_back(
    producer: &FutureProducer<Quiet>,
    message: &BorrowedMessage<'_>,
    selection: &Selection,
) -> anyhow::Result<bool> {
    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
    match Event::decode(&key, &headers(message), message.payload().unwrap_or_default()) {
        Ok(event) if selection.holds(&event) => {}
        Ok(_) => return Ok(false),
        Err(malformed) => {
            warn!("message {}/{} is no event and stays: {malformed}", message.topic(), message.offset());
            return Ok(false);
        }
    }
    let topic = origin(message);
    let mut record = FutureRecord::<[u8], [u8]>::to(&topic).headers(original_headers(message));
    record.key = message.key();
    record.payload = message.payload();
    let sent = producer.send(record, Timeout::Never).await;
    sent.map_err(|(error, _)| error).with_context(|| format!("could not put a message into {topic}"))?;
    Ok(true)
}

fn producer(kafka: &KafkaArgs) -> anyhow::Result<FutureProducer<Quiet>> {
    let producer = kafka
        .client()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", SEND_MAX_MS)
        .set("partitioner", "murmur2_random")
        .create_with_context(Quiet)?;
    Ok(producer)
}

impl Connected for StreamConsumer<Quiet> {
    type Context = Quiet;

    fn connection(&self) -> &Client<Quiet> {
        self.client()
    }
}
