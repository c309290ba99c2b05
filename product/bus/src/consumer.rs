//! Acts on events, once each.

use std::{future::Future, time::Duration};

use sqlx::{SqliteConnection, SqlitePool};
use tokio_util::sync::CancellationToken;

use crate::{Event, KafkaArgs, Topic};

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub kafka: KafkaArgs,
    pub group: String,
    /// Created when missing, then read.
    pub topics: Vec<Topic>,
    /// Wait before each further attempt; after the last the event is dead-lettered.
    pub retry_delays: Vec<Duration>,
}

impl ConsumerConfig {
    /// With delays of 1 s, 5 s and 30 s.
    pub fn new(_kafka: KafkaArgs, _group: &str, _topics: Vec<Topic>) -> Self {
        todo!()
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
    /// Work outside the database (a file, a call), before the transaction and so without its lock. It may run again
    /// for the same event after a crash: make it idempotent by the event's id.
    fn before(&self, _event: &Event) -> impl Future<Output = Result<(), HandlerError>> + Send {
        async { Ok(()) }
    }

    /// The effect. `transaction` also holds the event's inbox row: both are committed or neither.
    fn apply(
        &self,
        transaction: &mut SqliteConnection,
        event: &Event,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Consumes until `stop`; a broker that is away is waited for. Calls `inbox::migrate` itself.
pub async fn run(
    _config: ConsumerConfig,
    _pool: SqlitePool,
    _handler: impl Handler,
    _stop: CancellationToken,
) -> anyhow::Result<()> {
    todo!()
}
