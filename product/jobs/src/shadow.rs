//! Digests of what was composed for events that both sides deal with, so that the two can be compared.
//!
//! The side that performs notes one with each effect, the other one notes them instead.

use product_bus::Event;
use product_bus::database::{Database, span, traced};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;

use crate::work::Work;

/// Rows of one answer: some hundred kilobytes.
pub const ROWS_MAX: i64 = 1_000;

/// One effect that was composed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Noted {
    /// Where to read on after this one; grows, with gaps.
    pub seq: i64,
    pub event_id: String,
    pub effect: String,
    /// SHA-256 in hex.
    pub digest: String,
}

/// Notes what was composed, in the transaction of what says that this side has dealt with it.
///
/// Numbers are taken from one counter, whose lock lasts until the commit: a reader that goes by them misses none, though
/// transactions of several consumers may commit in any order.
pub(crate) async fn note(connection: &mut AnyConnection, event: &Event, work: &Work) -> sqlx::Result<()> {
    let next = sqlx::query_scalar("UPDATE digest_counter SET last_seq = last_seq + 1 RETURNING last_seq");
    let counting = span(connection, "UPDATE", "digest_counter");
    let seq: i64 = traced(counting, next.fetch_one(&mut *connection)).await?;
    let query = sqlx::query(
        "INSERT INTO digests (seq, event_id, effect, digest) VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id, effect) DO NOTHING",
    )
    .bind(seq)
    .bind(event.id.to_string())
    .bind(work.effect().name())
    .bind(work.digest());
    let noting = span(connection, "INSERT", "digests");
    traced(noting, query.execute(connection)).await.map(drop)
}

/// What was noted after the number `after`, at most `limit` of it, and never more than [`ROWS_MAX`].
pub async fn after(database: &Database, after: i64, limit: i64) -> sqlx::Result<Vec<Noted>> {
    let mut connection = database.read().await?;
    let query =
        sqlx::query_as("SELECT seq, event_id, effect, digest FROM digests WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(after)
            .bind(limit.clamp(0, ROWS_MAX));
    let span = span(&connection, "SELECT", "digests");
    traced(span, query.fetch_all(&mut *connection)).await
}
