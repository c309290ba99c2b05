//! What the product does, as functions over a connection and plain types.
//!
//! Nothing here knows HTTP, Kafka or a pool: the caller owns the transaction, so what a function writes commits
//! together with whatever else the caller writes, wherever that work runs.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod avatars;
pub(crate) mod events;
pub(crate) mod exports;
pub(crate) mod idempotency;
pub(crate) mod input;
pub(crate) mod ledger;
pub(crate) mod lockout;
pub(crate) mod payments;
pub(crate) mod profiles;
pub(crate) mod sessions;
pub(crate) mod verification;

use std::time::Duration;

use jiff::Timestamp;
use product_bus::database::Dialect;
pub(crate) use product_bus::database::{span, traced};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use uuid::Uuid;

/// Outdated rows deleted with each new one: more than one, so that a backlog shrinks; few, so that nobody waits.
const PRUNED_ROWS_MAX: i64 = 4;

/// The present, in the precision that the database keeps, so that what is answered equals what is read later.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Forgets a few rows of `table`, known by `key`, whose `column` is not after `moment`.
async fn prune(
    connection: &mut AnyConnection,
    table: &'static str,
    key: &'static str,
    column: &'static str,
    moment: i64,
) -> sqlx::Result<()> {
    let query = sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM {table} WHERE {key} IN
         (SELECT {key} FROM {table} WHERE {column} <= $1 ORDER BY {column} LIMIT $2 {})",
        Dialect::of(connection).skip_locked(),
    )))
    .bind(moment)
    .bind(PRUNED_ROWS_MAX);
    traced(span(connection, "DELETE", table), query.execute(connection)).await?;
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn id(row: &AnyRow, column: &str) -> sqlx::Result<Uuid> {
    let text: &str = row.try_get(column)?;
    Uuid::parse_str(text).map_err(|error| undecodable(column, error))
}

fn time(row: &AnyRow, column: &str) -> sqlx::Result<Timestamp> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|error| undecodable(column, error))
}

pub(crate) fn undecodable(column: &str, source: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
