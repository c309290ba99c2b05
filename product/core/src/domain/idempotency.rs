//! One answer for each key, however often a client asks with it.
//!
//! A key belongs to its user. While a request works on it, it holds a lease; when that ends without an answer
//! (the acquirer failed, the process died), the next request with the same body resumes the same payment.

use std::time::Duration;

use jiff::Timestamp;
use product_bus::database::Dialect;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use uuid::Uuid;

use super::{PRUNED_ROWS_MAX, id, millis, span, traced};

/// How long an answer can be asked for again. After that the key means a new payment.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the client chose, and a digest of what it asked with it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) user_id: Uuid,
    pub(crate) key: String,
    pub(crate) request_hash: [u8; 32],
}

/// What is known of a key.
pub(crate) enum Known {
    Nothing,
    /// The first request was about something else.
    OtherRequest,
    /// Another request holds the lease.
    InFlight,
    Answered {
        payment_id: Uuid,
        response: String,
    },
    /// Started and left without an answer; the lease is now the caller's.
    Unfinished {
        payment_id: Uuid,
    },
}

/// Looks a key up and takes its lease if nobody has it.
pub(crate) async fn claim(
    connection: &mut AnyConnection,
    key: &Key,
    now: Timestamp,
    lease: Duration,
) -> sqlx::Result<Known> {
    let query = sqlx::query(
        "SELECT request_hash, payment_id, lease_until, response FROM idempotency_keys WHERE user_id = $1 AND key = $2",
    )
    .bind(key.user_id.to_string())
    .bind(&key.key);
    let Some(row) =
        traced(span(connection, "SELECT", "idempotency_keys"), query.fetch_optional(&mut *connection)).await?
    else {
        return Ok(Known::Nothing);
    };
    let payment_id = id(&row, "payment_id")?;
    if row.try_get::<&[u8], _>("request_hash")? != key.request_hash {
        return Ok(Known::OtherRequest);
    }
    if let Some(response) = row.try_get("response")? {
        return Ok(Known::Answered { payment_id, response });
    }
    if row.try_get::<i64, _>("lease_until")? > now.as_millisecond() {
        return Ok(Known::InFlight);
    }
    // Whoever changes the row first has the lease, where several writers work at once.
    let query = sqlx::query(
        "UPDATE idempotency_keys SET lease_until = $1
         WHERE user_id = $2 AND key = $3 AND response IS NULL AND lease_until <= $4",
    )
    .bind(after(now, lease))
    .bind(key.user_id.to_string())
    .bind(&key.key)
    .bind(now.as_millisecond());
    let taken = traced(span(connection, "UPDATE", "idempotency_keys"), query.execute(connection)).await?;
    Ok(if taken.rows_affected() == 1 { Known::Unfinished { payment_id } } else { Known::InFlight })
}

/// Remembers a new key, with the lease held; false when another request was faster.
pub(crate) async fn remember(
    connection: &mut AnyConnection,
    key: &Key,
    payment_id: Uuid,
    now: Timestamp,
    lease: Duration,
) -> sqlx::Result<bool> {
    prune(connection, now).await?;
    let query = sqlx::query(
        "INSERT INTO idempotency_keys (user_id, key, request_hash, payment_id, lease_until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(key.user_id.to_string())
    .bind(&key.key)
    .bind(&key.request_hash[..])
    .bind(payment_id.to_string())
    .bind(after(now, lease))
    .bind(now.as_millisecond());
    let added = traced(span(connection, "INSERT", "idempotency_keys"), query.execute(connection)).await?;
    Ok(added.rows_affected() == 1)
}

/// Stores what every later request with this key gets.
pub(crate) async fn answer(connection: &mut AnyConnection, key: &Key, response: &str) -> sqlx::Result<()> {
    let query = sqlx::query("UPDATE idempotency_keys SET response = $1 WHERE user_id = $2 AND key = $3")
        .bind(response)
        .bind(key.user_id.to_string())
        .bind(&key.key);
    traced(span(connection, "UPDATE", "idempotency_keys"), query.execute(connection)).await?;
    Ok(())
}

/// Gives the lease back without an answer: the client may try again at once.
pub(crate) async fn release(connection: &mut AnyConnection, key: &Key) -> sqlx::Result<()> {
    let query = sqlx::query("UPDATE idempotency_keys SET lease_until = 0 WHERE user_id = $1 AND key = $2")
        .bind(key.user_id.to_string())
        .bind(&key.key);
    traced(span(connection, "UPDATE", "idempotency_keys"), query.execute(connection)).await?;
    Ok(())
}

/// A key without an answer stays: its payment may still be resumed.
async fn prune(connection: &mut AnyConnection, now: Timestamp) -> sqlx::Result<()> {
    let query = sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM idempotency_keys WHERE (user_id, key) IN
         (SELECT user_id, key FROM idempotency_keys WHERE created_at < $1 AND response IS NOT NULL
          ORDER BY created_at LIMIT $2 {})",
        Dialect::of(connection).skip_locked(),
    )))
    .bind(now.as_millisecond().saturating_sub(millis(KEPT)))
    .bind(PRUNED_ROWS_MAX);
    traced(span(connection, "DELETE", "idempotency_keys"), query.execute(connection)).await?;
    Ok(())
}

fn after(now: Timestamp, lease: Duration) -> i64 {
    now.as_millisecond().saturating_add(millis(lease))
}
