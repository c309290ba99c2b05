//! The outbox in SQLite. Rows are published in the order of their ids, which is the order of commits: SQLite has one
//! writer. So one number, the cursor, tells what the current cluster has.

use sqlx::{FromRow, SqlitePool};
use uuid::Uuid;

use crate::{Event, event::now_ns};

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id BLOB NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        data TEXT NOT NULL,
        traceparent TEXT,
        tracestate TEXT,
        created_ns INTEGER NOT NULL,
        -- Where it was published last; NULL: never.
        cluster TEXT,
        partition INTEGER,
        offset INTEGER,
        -- Context of the span that sent it first: whoever processes it is that span's child.
        sent_traceparent TEXT,
        sent_tracestate TEXT
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS outbox_cursor (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        cluster TEXT NOT NULL,
        -- Everything up to this id is in the cluster's log.
        id INTEGER NOT NULL
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS outbox_end (
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        -- One past the last offset we got: a log that ends before it has lost something.
        offset INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)
    ) STRICT",
];

/// Creates the tables if they are missing.
pub async fn migrate(pool: &SqlitePool) -> sqlx::Result<()> {
    for statement in SCHEMA {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

/// Rows not yet published to the cluster in use.
pub async fn pending(pool: &SqlitePool) -> sqlx::Result<i64> {
    Ok(backlog(pool).await?.0)
}

/// The same with the age of the oldest, milliseconds.
pub(super) async fn backlog(pool: &SqlitePool) -> sqlx::Result<(i64, i64)> {
    let (pending, oldest): (i64, Option<i64>) = sqlx::query_as(
        // By the ends of the key, which has no gaps: after a restart everything retained is pending, and a count would read it.
        "WITH sent AS (
             SELECT max(coalesce((SELECT id FROM outbox_cursor), 0), coalesce((SELECT min(id) FROM outbox), 1) - 1) AS id
         )
         SELECT max(coalesce((SELECT max(id) FROM outbox), 0) - sent.id, 0),
                (SELECT created_ns FROM outbox WHERE outbox.id > sent.id ORDER BY outbox.id LIMIT 1)
         FROM sent",
    )
    .fetch_one(pool)
    .await?;
    Ok((pending, oldest.map_or(0, |oldest| (now_ns() - oldest).max(0) / 1_000_000)))
}

/// A row to publish.
#[derive(FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) topic: String,
    event_id: Vec<u8>,
    key: String,
    kind: String,
    version: u32,
    time_ns: i64,
    data: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    sent_traceparent: Option<String>,
    sent_tracestate: Option<String>,
    cluster: Option<String>,
}

impl Row {
    /// Whether an earlier log had it.
    pub(super) fn was_published(&self) -> bool {
        self.cluster.is_some()
    }

    /// The event and its body. The context is the cause's, or, for what was published before, the first sender's.
    pub(super) fn into_event(self) -> anyhow::Result<(Event, String)> {
        let (traceparent, tracestate) = match self.sent_traceparent {
            Some(sent) if self.cluster.is_some() => (Some(sent), self.sent_tracestate),
            _ => (self.traceparent, self.tracestate),
        };
        let event = Event {
            id: Uuid::from_slice(&self.event_id)?,
            kind: self.kind,
            version: self.version,
            key: self.key,
            time_ns: self.time_ns,
            data: serde_json::Value::Null, // the text is sent as it is
            traceparent,
            tracestate,
        };
        Ok((event, self.data))
    }
}

pub(super) async fn after(pool: &SqlitePool, cursor: i64, rows_max: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as(
        "SELECT id, topic, event_id, key, kind, version, time_ns, data, traceparent, tracestate,
                sent_traceparent, sent_tracestate, cluster
         FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(cursor)
    .bind(rows_max)
    .fetch_all(pool)
    .await
}

/// Where a row went.
pub(super) struct Sent {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) traceparent: Option<String>,
    pub(super) tracestate: Option<String>,
}

/// The cursor in `cluster`; a cluster not seen before starts from the first row retained.
pub(super) async fn begin(pool: &SqlitePool, cluster: &str) -> sqlx::Result<i64> {
    let known: Option<(String, i64)> =
        sqlx::query_as("SELECT cluster, id FROM outbox_cursor").fetch_optional(pool).await?;
    match known {
        Some((known, cursor)) if known == cluster => Ok(cursor),
        _ => {
            restart(pool, cluster).await?;
            Ok(0)
        }
    }
}

/// Everything retained is to be published again.
pub(super) async fn restart(pool: &SqlitePool, cluster: &str) -> sqlx::Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT OR REPLACE INTO outbox_cursor (one, cluster, id) VALUES (1, ?, 0)")
        .bind(cluster)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM outbox_end").execute(&mut *transaction).await?;
    transaction.commit().await
}

/// How far each partition must reach.
pub(super) async fn ends(pool: &SqlitePool) -> sqlx::Result<Vec<(String, i32, i64)>> {
    sqlx::query_as("SELECT topic, partition, offset FROM outbox_end").fetch_all(pool).await
}

/// Notes where rows went and moves the cursor past them.
pub(super) async fn mark(pool: &SqlitePool, cluster: &str, sent: &[Sent]) -> sqlx::Result<()> {
    let Some(last) = sent.last() else { return Ok(()) };
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for row in sent {
        sqlx::query(
            "UPDATE outbox SET cluster = ?, partition = ?, offset = ?,
                    sent_traceparent = coalesce(sent_traceparent, ?), sent_tracestate = coalesce(sent_tracestate, ?)
             WHERE id = ?",
        )
        .bind(cluster)
        .bind(row.partition)
        .bind(row.offset)
        .bind(&row.traceparent)
        .bind(&row.tracestate)
        .bind(row.id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("INSERT OR REPLACE INTO outbox_end (topic, partition, offset) VALUES (?, ?, ?)")
            .bind(&row.topic)
            .bind(row.partition)
            .bind(row.offset + 1)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("UPDATE outbox_cursor SET id = ? WHERE cluster = ?")
        .bind(last.id)
        .bind(cluster)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Deletes at most `rows_max` published rows older than `age_ns`; returns how many.
pub(super) async fn prune(pool: &SqlitePool, cursor: i64, age_ns: i64, rows_max: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM outbox WHERE created_ns < ? AND id IN (SELECT id FROM outbox WHERE id <= ? ORDER BY id LIMIT ?)",
    )
    .bind(now_ns().saturating_sub(age_ns))
    .bind(cursor)
    .bind(rows_max)
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
