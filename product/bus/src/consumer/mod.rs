//! Acts on events, once each.
//!
//! A reader has several events in hand, of one key one at a time: handlers wait for others (mail, webhooks, a disk) most of
//! their time, and a partition has many keys. A position moves past what is done with all before it.
//!
//! An event whose handler asks for a retry is put into a retry topic of its own delay and its key goes on; each delay
//! has its own reader, which waits for the head of its topic. After the last delay, or at once if the event is poison, it
//! goes to `<topic>.<group>.dlq`. So events of one key keep their order until one of them is retried.

mod at_work;
mod forward;
mod hand;
mod reader;
mod seat;
mod tier;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use sqlx::AnyConnection;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Event, KafkaArgs, Topic, database::Database, inbox, measure::Lag};

pub(crate) use {
    forward::{headers, origin, original_headers},
    tier::dead_letter_suffix,
};

use at_work::AtWork;
use forward::Forward;
use reader::Reader;
use tier::Tier;

/// At 100 ms an event, as letters and webhooks take, 320 a second. Each costs a few kilobytes while it is in hand.
const IN_HAND_MAX_DEFAULT: usize = 32;
const RETRY_DELAYS_DEFAULT: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub kafka: KafkaArgs,
    pub group: String,
    /// Created when missing, then read.
    pub topics: Vec<Topic>,
    /// Wait before each further attempt; after the last the event is dead-lettered.
    pub retry_delays: Vec<Duration>,
    /// Events in hand at once, in each reader. What is beyond waits in the log.
    pub in_hand_max: usize,
}

impl ConsumerConfig {
    /// With delays of 1 s, 5 s and 30 s, and 32 events in hand; names get the prefix of `kafka`.
    pub fn new(kafka: KafkaArgs, group: &str, topics: Vec<Topic>) -> Self {
        let retry_delays = RETRY_DELAYS_DEFAULT.to_vec();
        let (group, topics) = (kafka.name(group), kafka.topics(topics));
        Self { kafka, group, topics, retry_delays, in_hand_max: IN_HAND_MAX_DEFAULT }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// May succeed later: tried again after a delay, without holding up the partition.
    #[error("{0:#}")]
    Retry(anyhow::Error),
    /// Will never succeed: goes to the dead-letter topic.
    #[error("{0:#}")]
    Poison(anyhow::Error),
}

impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(error.into())
    }
}

pub trait Handler: Send + Sync + 'static {
    /// False when nothing is ever to be done for this event: then it costs no transaction.
    fn wants(&self, _event: &Event) -> bool {
        true
    }

    /// Work outside the database (a file, a call), before the transaction and so without its lock. It may run again
    /// for the same event after a crash: make it idempotent by the event's id.
    fn before(&self, _event: &Event) -> impl Future<Output = Result<(), HandlerError>> + Send {
        async { Ok(()) }
    }

    /// The effect. `transaction` also holds the event's inbox row: both are committed or neither.
    fn apply(
        &self,
        transaction: &mut AnyConnection,
        event: &Event,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Consumes until `stop`; a broker that is away is waited for. Creates the inbox's tables itself.
pub async fn run(
    config: ConsumerConfig,
    database: Database,
    handler: impl Handler,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    inbox::migrate(&database).await.context("could not create the inbox")?;
    let tiers = Tier::all(&config.group, &config.topics, &config.retry_delays);
    let forward = Arc::new(Forward::new(&config)?);
    let handler = Arc::new(handler);
    let at_work = Arc::<AtWork>::default();
    // One failing reader stops the others: half a consumer is worse to notice than none.
    let stop = stop.child_token();
    let mut readers = JoinSet::new();
    for tier in tiers {
        let reader = Reader {
            kafka: config.kafka.clone(),
            topics: config.topics.clone(),
            retries: config.retry_delays.len(),
            in_hand_max: config.in_hand_max,
            group: config.group.clone(),
            lag: Lag::registered(&tier.group),
            tier,
            database: database.clone(),
            handler: handler.clone(),
            forward: forward.clone(),
            at_work: at_work.clone(),
        };
        readers.spawn(reader.run(stop.clone()));
    }
    let mut outcome = Ok(());
    while let Some(ended) = readers.join_next().await {
        stop.cancel();
        outcome = outcome.and(ended.context("a reader panicked").and_then(|ended| ended));
    }
    outcome
}
