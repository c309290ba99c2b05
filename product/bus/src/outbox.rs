//! The transactional outbox and the relay that empties it.

use sqlx::{SqliteConnection, SqlitePool};
use tokio_util::sync::CancellationToken;

use crate::{Event, KafkaArgs, Topic};

/// Creates the table if it is missing.
pub async fn migrate(_pool: &SqlitePool) -> sqlx::Result<()> {
    todo!()
}

/// Adds `event` in the caller's transaction, with the trace context of the current span. Call `Relay::notify`
/// (see [`Waker`]) after the commit; without it the clock finds the row.
pub async fn enqueue(_connection: &mut SqliteConnection, _topic: &str, _event: &Event) -> sqlx::Result<()> {
    todo!()
}

/// Rows not yet published.
pub async fn pending(_pool: &SqlitePool) -> sqlx::Result<i64> {
    todo!()
}

/// Tells the relay that a transaction with outbox rows was committed.
#[derive(Clone, Debug)]
pub struct Waker {}

impl Waker {
    pub fn committed(&self) {
        todo!()
    }
}

pub struct Relay {}

impl Relay {
    /// `source` is the CloudEvents source ("core"); `topics` are created when missing.
    pub fn new(_pool: SqlitePool, _kafka: KafkaArgs, _source: &str, _topics: Vec<Topic>) -> Self {
        todo!()
    }

    pub fn waker(&self) -> Waker {
        todo!()
    }

    /// Publishes until `stop`; a broker that is away is waited for.
    pub async fn run(self, _stop: CancellationToken) -> anyhow::Result<()> {
        todo!()
    }
}
