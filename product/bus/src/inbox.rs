//! Which events were acted on: one row each, written in the transaction of the effect. And how far each log was read,
//! in the same transactions: an offset means something only together with the cluster it was given by.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, migrate::Migrator};
use uuid::Uuid;

use crate::{
    database::{Database, Dialect},
    event::now_ns,
};

/// Longer than an outbox retains: what is published again is still known.
const REMEMBERED_NS: i64 = 9 * 24 * 3600 * 1_000_000_000;
const PRUNED_ROWS_MAX: i64 = 1_000;

/// Topic and partition.
pub(crate) type Place = (String, i32);

/// How the tables of the inbox came to be, for [`migrate`] and for going back.
pub fn migrations(dialect: Dialect) -> Migrator {
    let mut migrations = match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/inbox/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/inbox/postgres"),
    };
    migrations.dangerous_set_table_name("_inbox_migrations");
    migrations
}

/// Creates the tables or brings them up to date.
pub async fn migrate(database: &Database) -> anyhow::Result<()> {
    database.migrate(&migrations(database.dialect())).await
}

pub(crate) async fn knows(database: &Database, consumer: &str, event: Uuid) -> sqlx::Result<bool> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM inbox WHERE consumer = $1 AND event_id = $2")
        .bind(consumer)
        .bind(event.as_bytes().as_slice())
        .fetch_optional(database.readers())
        .await?;
    Ok(found.is_some())
}

/// False: another reader was faster.
pub(crate) async fn add(connection: &mut AnyConnection, consumer: &str, event: Uuid) -> sqlx::Result<bool> {
    let added = sqlx::query("INSERT INTO inbox (consumer, event_id, at_ns) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(consumer)
        .bind(event.as_bytes().as_slice())
        .bind(now_ns())
        .execute(connection)
        .await?;
    Ok(added.rows_affected() == 1)
}

/// Where `consumer` reads on in `cluster`; empty for a cluster it has not met. Others of its clusters are forgotten.
pub(crate) async fn positions(database: &Database, consumer: &str, cluster: &str) -> sqlx::Result<HashMap<Place, i64>> {
    sqlx::query("DELETE FROM inbox_position WHERE consumer = $1 AND cluster <> $2")
        .bind(consumer)
        .bind(cluster)
        .execute(database.writer())
        .await?;
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT topic, partition, log_offset FROM inbox_position WHERE consumer = $1 AND cluster = $2")
            .bind(consumer)
            .bind(cluster)
            .fetch_all(database.readers())
            .await?;
    Ok(rows.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

/// Where anybody of `consumer` got to in one partition.
pub(crate) async fn position(
    database: &Database,
    consumer: &str,
    cluster: &str,
    (topic, partition): &Place,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT log_offset FROM inbox_position
         WHERE consumer = $1 AND cluster = $2 AND topic = $3 AND partition = $4",
    )
    .bind(consumer)
    .bind(cluster)
    .bind(topic)
    .bind(partition)
    .fetch_optional(database.readers())
    .await
}

pub(crate) async fn set_position(
    connection: &mut AnyConnection,
    consumer: &str,
    cluster: &str,
    (topic, partition): &Place,
    offset: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO inbox_position (consumer, cluster, topic, partition, log_offset) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (consumer, cluster, topic, partition) DO UPDATE SET log_offset = excluded.log_offset",
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
pub(crate) async fn prune(database: &Database) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM inbox WHERE (consumer, event_id) IN
         (SELECT consumer, event_id FROM inbox WHERE at_ns < $1 ORDER BY at_ns LIMIT $2 {})",
        database.dialect().skip_locked(),
    )))
    .bind(now_ns() - REMEMBERED_NS)
    .bind(PRUNED_ROWS_MAX)
    .execute(database.writer())
    .await?;
    Ok(())
}
