//! Which events were acted on: one row each, written in the transaction of the effect. And how far each log was read,
//! in the same transactions: an offset means something only together with the cluster it was given by.

use std::collections::HashMap;

use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use crate::event::now_ns;

/// Longer than an outbox retains: what is published again is still known.
const REMEMBERED_NS: i64 = 9 * 24 * 3600 * 1_000_000_000;
const PRUNED_ROWS_MAX: i64 = 1_000;

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS inbox (
        consumer TEXT NOT NULL,
        event_id BLOB NOT NULL,
        at_ns INTEGER NOT NULL,
        PRIMARY KEY (consumer, event_id)
    ) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS inbox_at ON inbox (at_ns)",
    "CREATE TABLE IF NOT EXISTS inbox_position (
        consumer TEXT NOT NULL,
        cluster TEXT NOT NULL,
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        -- The offset to read next.
        offset INTEGER NOT NULL,
        PRIMARY KEY (consumer, cluster, topic, partition)
    ) STRICT, WITHOUT ROWID",
];

/// Topic and partition.
pub(crate) type Place = (String, i32);

/// Creates the tables if they are missing.
pub async fn migrate(pool: &SqlitePool) -> sqlx::Result<()> {
    for statement in SCHEMA {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

pub(crate) async fn knows(pool: &SqlitePool, consumer: &str, event: Uuid) -> sqlx::Result<bool> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM inbox WHERE consumer = ? AND event_id = ?")
        .bind(consumer)
        .bind(event.as_bytes().as_slice())
        .fetch_optional(pool)
        .await?;
    Ok(found.is_some())
}

/// False: another reader was faster.
pub(crate) async fn add(connection: &mut SqliteConnection, consumer: &str, event: Uuid) -> sqlx::Result<bool> {
    let added = sqlx::query("INSERT OR IGNORE INTO inbox (consumer, event_id, at_ns) VALUES (?, ?, ?)")
        .bind(consumer)
        .bind(event.as_bytes().as_slice())
        .bind(now_ns())
        .execute(connection)
        .await?;
    Ok(added.rows_affected() == 1)
}

/// Where `consumer` reads on in `cluster`; empty for a cluster it has not met. Others of its clusters are forgotten.
pub(crate) async fn positions(pool: &SqlitePool, consumer: &str, cluster: &str) -> sqlx::Result<HashMap<Place, i64>> {
    sqlx::query("DELETE FROM inbox_position WHERE consumer = ? AND cluster <> ?")
        .bind(consumer)
        .bind(cluster)
        .execute(pool)
        .await?;
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT topic, partition, offset FROM inbox_position WHERE consumer = ? AND cluster = ?")
            .bind(consumer)
            .bind(cluster)
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

pub(crate) async fn set_position(
    connection: &mut SqliteConnection,
    consumer: &str,
    cluster: &str,
    (topic, partition): &Place,
    offset: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO inbox_position (consumer, cluster, topic, partition, offset) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(consumer)
    .bind(cluster)
    .bind(topic)
    .bind(partition)
    .bind(offset)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets some of what no outbox retains any more.
pub(crate) async fn prune(pool: &SqlitePool) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM inbox WHERE (consumer, event_id) IN
         (SELECT consumer, event_id FROM inbox WHERE at_ns < ? ORDER BY at_ns LIMIT ?)",
    )
    .bind(now_ns() - REMEMBERED_NS)
    .bind(PRUNED_ROWS_MAX)
    .execute(pool)
    .await?;
    Ok(())
}
