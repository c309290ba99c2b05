//! The outbox in the database. What was never published has no cluster and a partial index; what an earlier log had and
//! the current one lacks lies between the two ids of the cursor and is published first, so that keys keep their order.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, FromRow, migrate::Migrator};
use uuid::Uuid;

use crate::{
    Event,
    database::{Database, Dialect},
    event::now_ns,
    replay::Selection,
    steps::Step,
};

/// Beyond it a backlog is only "many": counting it would cost more than knowing it helps.
const COUNTED_MAX: i64 = 100_000;

/// How the tables of the outbox came to be, for [`migrate`] and for going back.
pub fn migrations(dialect: Dialect) -> Migrator {
    let mut migrations = match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/outbox/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/outbox/postgres"),
    };
    migrations.dangerous_set_table_name("_outbox_migrations");
    migrations
}

/// Creates the tables or brings them up to date.
pub async fn migrate(database: &Database) -> anyhow::Result<()> {
    database.migrate(&migrations(database.dialect())).await
}

/// Rows that the cluster in use does not have, counted up to 100,000.
pub async fn pending(database: &Database) -> sqlx::Result<i64> {
    Ok(backlog(database, true).await?.0)
}

/// Those of them that somebody waits for, and what goes before them.
pub async fn wanted(database: &Database) -> sqlx::Result<i64> {
    Ok(backlog(database, false).await?.0)
}

/// What is to be published, with the age of the oldest in milliseconds; behind a closed gate only what is wanted.
pub(super) async fn backlog(database: &Database, open: bool) -> sqlx::Result<(i64, i64)> {
    let mut connection = database.read().await?;
    let Some(until) = unpublished_until(&mut connection, open).await? else { return Ok((0, 0)) };
    let unpublished: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE cluster IS NULL AND id <= $1 LIMIT $2) AS counted",
    )
    .bind(until)
    .bind(COUNTED_MAX)
    .fetch_one(&mut *connection)
    .await?;
    let Cursor { after, until } = cursor(&mut connection).await?;
    let oldest = if after < until {
        sqlx::query_scalar("SELECT created_ns FROM outbox WHERE id > $1 ORDER BY id LIMIT 1").bind(after)
    } else {
        sqlx::query_scalar("SELECT created_ns FROM outbox WHERE cluster IS NULL ORDER BY id LIMIT 1")
    };
    let oldest: Option<i64> = oldest.fetch_optional(&mut *connection).await?;
    let age_ms = oldest.map_or(0, |oldest| (now_ns() - oldest).max(0) / 1_000_000);
    // What is to be published again is told by the ends of the key, which has few gaps: it may be everything retained.
    Ok((unpublished + (until - after).max(0), age_ms))
}

/// The last unpublished row that may go; none when nobody waits for any.
async fn unpublished_until(connection: &mut AnyConnection, open: bool) -> sqlx::Result<Option<i64>> {
    if open {
        return Ok(Some(i64::MAX));
    }
    sqlx::query_scalar("SELECT id FROM outbox WHERE cluster IS NULL AND wanted = 1 ORDER BY id DESC LIMIT 1")
        .fetch_optional(connection)
        .await
}

/// Ids after `after` up to `until` were published to a log that is gone.
#[derive(Clone, Copy, Debug, Default, FromRow)]
struct Cursor {
    #[sqlx(rename = "id")]
    after: i64,
    until: i64,
}

async fn cursor(connection: &mut AnyConnection) -> sqlx::Result<Cursor> {
    let cursor = sqlx::query_as("SELECT id, until FROM outbox_cursor").fetch_optional(connection).await?;
    Ok(cursor.unwrap_or_default())
}

/// A row to publish.
#[derive(FromRow)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) topic: String,
    event_id: Vec<u8>,
    key: String,
    kind: String,
    version: i32,
    time_ns: i64,
    data: String,
    extensions: String,
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
    pub(crate) fn into_event(self) -> anyhow::Result<(Event, String)> {
        let (traceparent, tracestate) = match self.sent_traceparent {
            Some(sent) if self.cluster.is_some() => (Some(sent), self.sent_tracestate),
            _ => (self.traceparent, self.tracestate),
        };
        let extensions: BTreeMap<String, String> = serde_json::from_str(&self.extensions)?;
        let event = Event {
            id: Uuid::from_slice(&self.event_id)?,
            kind: self.kind,
            version: u32::try_from(self.version)?,
            key: self.key,
            time_ns: self.time_ns,
            data: serde_json::Value::Null, // the text is sent as it is
            extensions,
            sequence: Some(self.id),
            traceparent,
            tracestate,
        };
        Ok((event, self.data))
    }
}

/// The rows to publish next, in order: first what a log has lost, then what is new. Behind a closed gate rows go only as
/// far as one that is wanted, and so still in the order of their keys.
pub(super) async fn next(database: &Database, open: bool, rows_max: i64) -> sqlx::Result<Vec<Row>> {
    let mut connection = database.read().await?;
    let Some(last) = unpublished_until(&mut connection, open).await? else { return Ok(Vec::new()) };
    let Cursor { after, until } = cursor(&mut connection).await?;
    if after < until {
        let again: Vec<Row> = sqlx::query_as(
            "SELECT id, topic, event_id, key, kind, version, time_ns, data, extensions, traceparent, tracestate,
                    sent_traceparent, sent_tracestate, cluster
             FROM outbox WHERE cluster IS NOT NULL AND id > $1 AND id <= $2 ORDER BY id LIMIT $3",
        )
        .bind(after)
        .bind(until)
        .bind(rows_max)
        .fetch_all(&mut *connection)
        .await?;
        if !again.is_empty() {
            return Ok(again);
        }
    }
    sqlx::query_as(
        "SELECT id, topic, event_id, key, kind, version, time_ns, data, extensions, traceparent, tracestate,
                sent_traceparent, sent_tracestate, cluster
         FROM outbox WHERE cluster IS NULL AND id <= $1 ORDER BY id LIMIT $2",
    )
    .bind(last)
    .bind(rows_max)
    .fetch_all(&mut *connection)
    .await
}

/// Rows that were published and are asked for, after `after`, in order.
pub(crate) async fn published(
    database: &Database,
    selection: &Selection,
    after: i64,
    rows_max: i64,
) -> sqlx::Result<Vec<Row>> {
    let (from, until) = selection.period_ns();
    sqlx::query_as(
        "SELECT id, topic, event_id, key, kind, version, time_ns, data, extensions, traceparent, tracestate,
                sent_traceparent, sent_tracestate, cluster
         FROM outbox
         WHERE cluster IS NOT NULL AND id > $1 AND time_ns >= $2 AND time_ns < $3
           AND kind = COALESCE($4, kind) AND key = COALESCE($5, key)
         ORDER BY id LIMIT $6",
    )
    .bind(after)
    .bind(from)
    .bind(until)
    .bind(&selection.kind)
    .bind(&selection.key)
    .bind(rows_max)
    .fetch_all(database.readers())
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

/// Starts or goes on in `cluster`; one not met before gets everything retained.
pub(super) async fn begin(database: &Database, cluster: &str) -> sqlx::Result<()> {
    let known: Option<String> =
        sqlx::query_scalar("SELECT cluster FROM outbox_cursor").fetch_optional(database.readers()).await?;
    if known.as_deref() == Some(cluster) { Ok(()) } else { restart(database, cluster).await }
}

/// Everything that was published is to be published again.
pub(super) async fn restart(database: &Database, cluster: &str) -> sqlx::Result<()> {
    let mut transaction = database.begin().await?;
    sqlx::query(
        "INSERT INTO outbox_cursor (one, cluster, id, until)
         VALUES (1, $1, 0, COALESCE((SELECT id FROM outbox WHERE cluster IS NOT NULL ORDER BY id DESC LIMIT 1), 0))
         ON CONFLICT (one) DO UPDATE SET cluster = excluded.cluster, id = excluded.id, until = excluded.until",
    )
    .bind(cluster)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM outbox_end").execute(&mut *transaction).await?;
    database.commit(transaction).await
}

/// How far each partition must reach.
pub(super) async fn ends(database: &Database) -> sqlx::Result<Vec<(String, i32, i64)>> {
    sqlx::query_as("SELECT topic, partition, log_offset FROM outbox_end").fetch_all(database.readers()).await
}

/// Notes where rows went; the cursor moves past those of an earlier log.
pub(super) async fn mark(database: &Database, cluster: &str, sent: &[Sent]) -> sqlx::Result<()> {
    let Some(last) = sent.last() else { return Ok(()) };
    let mut transaction = database.begin().await?;
    let mut ends: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for row in sent {
        sqlx::query(
            "UPDATE outbox SET cluster = $1, partition = $2, log_offset = $3,
                    sent_traceparent = COALESCE(sent_traceparent, $4), sent_tracestate = COALESCE(sent_tracestate, $5)
             WHERE id = $6",
        )
        .bind(cluster)
        .bind(row.partition)
        .bind(row.offset)
        .bind(&row.traceparent)
        .bind(&row.tracestate)
        .bind(row.id)
        .execute(&mut *transaction)
        .await?;
        ends.insert((&row.topic, row.partition), row.offset + 1);
    }
    for ((topic, partition), end) in ends {
        // Two relays may publish for a moment, while one process takes over from another.
        sqlx::query(
            "INSERT INTO outbox_end (topic, partition, log_offset) VALUES ($1, $2, $3)
             ON CONFLICT (topic, partition) DO UPDATE SET log_offset = excluded.log_offset
             WHERE excluded.log_offset > outbox_end.log_offset",
        )
        .bind(topic)
        .bind(partition)
        .bind(end)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query("UPDATE outbox_cursor SET id = $1 WHERE cluster = $2 AND id < $1 AND id < until")
        .bind(last.id)
        .bind(cluster)
        .execute(&mut *transaction)
        .await?;
    Step::Marking.reached();
    database.commit(transaction).await
}

/// Deletes at most `rows_max` rows older than `age_ns` that were published, or, behind a closed gate, that nobody waits
/// for; returns how many.
pub(super) async fn prune(database: &Database, open: bool, age_ns: i64, rows_max: i64) -> sqlx::Result<u64> {
    let Cursor { after, until } = cursor(&mut *database.read().await?).await?;
    let deleted = sqlx::query(
        "DELETE FROM outbox WHERE created_ns < $1 AND id IN (SELECT id FROM outbox ORDER BY id LIMIT $2)
         AND (id <= $3 OR id > $4) AND (cluster IS NOT NULL OR wanted < $5)",
    )
    .bind(now_ns().saturating_sub(age_ns))
    .bind(rows_max)
    .bind(after)
    .bind(until)
    .bind(i16::from(!open))
    .execute(database.writer())
    .await?;
    Ok(deleted.rows_affected())
}
