//! Guessing at one account is slow: after so many wrong passwords it takes none for a while.
//!
//! Counted by the address, whether anybody has an account there or not: the answer tells nothing. Who owns a locked
//! account waits as well; the lock is short for that reason.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Row};

use super::input::Email;
use super::{millis, prune, span, time, traced};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) failures_max: u32,
    /// How long the lock lasts, and how long a failure counts.
    pub(crate) lock: Duration,
}

/// How long the address stays locked; `None` when it is not.
pub(crate) async fn remaining(
    connection: &mut AnyConnection,
    policy: Policy,
    email: &Email,
    now: Timestamp,
) -> sqlx::Result<Option<Duration>> {
    let query = sqlx::query("SELECT last_at FROM login_failures WHERE address_hash = $1 AND failures >= $2")
        .bind(address_hash(email))
        .bind(i64::from(policy.failures_max));
    let Some(row) = traced(span(connection, "SELECT", "login_failures"), query.fetch_optional(connection)).await?
    else {
        return Ok(None);
    };
    let elapsed = Duration::try_from(now.duration_since(time(&row, "last_at")?)).unwrap_or_default();
    Ok(policy.lock.checked_sub(elapsed).filter(|remaining| !remaining.is_zero()))
}

/// Counts a wrong password, and forgets a few old ones; true when this one locks the address.
pub(crate) async fn failed(
    connection: &mut AnyConnection,
    policy: Policy,
    email: &Email,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let forgotten_before = now.as_millisecond().saturating_sub(millis(policy.lock));
    prune(connection, "login_failures", "address_hash", "last_at", forgotten_before).await?;
    let count = sqlx::query(
        "INSERT INTO login_failures (address_hash, failures, last_at) VALUES ($1, 1, $2)
         ON CONFLICT (address_hash) DO UPDATE SET
             failures = CASE WHEN login_failures.last_at <= $3 THEN 1 ELSE login_failures.failures + 1 END,
             last_at = excluded.last_at
         RETURNING failures",
    )
    .bind(address_hash(email))
    .bind(now.as_millisecond())
    .bind(forgotten_before);
    let row = traced(span(connection, "INSERT", "login_failures"), count.fetch_one(connection)).await?;
    Ok(row.try_get::<i64, _>("failures")? == i64::from(policy.failures_max))
}

/// The right password wipes the slate.
pub(crate) async fn forget(connection: &mut AnyConnection, email: &Email) -> sqlx::Result<()> {
    let query = sqlx::query("DELETE FROM login_failures WHERE address_hash = $1").bind(address_hash(email));
    traced(span(connection, "DELETE", "login_failures"), query.execute(connection)).await?;
    Ok(())
}

/// Addresses that nobody registered are not ours to keep.
fn address_hash(email: &Email) -> Vec<u8> {
    Sha256::digest(email.as_str()).to_vec()
}
