//! What the product does, as functions over a connection and plain types.
//!
//! Nothing here knows HTTP, Kafka or a pool: the caller owns the transaction, so what a function writes commits
//! together with whatever else the caller writes, wherever that work runs.

pub(crate) mod accounts;
pub(crate) mod events;
pub(crate) mod idempotency;
pub(crate) mod input;
pub(crate) mod payments;
pub(crate) mod profiles;

use jiff::Timestamp;
pub(crate) use product_bus::database::{span, traced};
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

/// Outdated rows deleted with each new one: more than one, so that a backlog shrinks; few, so that nobody waits.
const PRUNED_ROWS_MAX: i64 = 4;

/// The present, in the precision that the database keeps, so that what is answered equals what is read later.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

fn id(row: &AnyRow, column: &str) -> sqlx::Result<Uuid> {
    let text: &str = row.try_get(column)?;
    Uuid::parse_str(text).map_err(|error| undecodable(column, error))
}

fn time(row: &AnyRow, column: &str) -> sqlx::Result<Timestamp> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &str, source: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
