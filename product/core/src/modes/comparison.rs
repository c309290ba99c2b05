//! How comparisons stand: how much agreed, what did not, and whether that allows a promotion.

use std::time::Duration;

use jiff::Timestamp;
use product_bus::database::Database;
use serde::Serialize;
use sqlx::{AnyConnection, Row};
use tracing::warn;

use super::Concern;
use crate::domain::{span, traced};

/// Mismatches kept of each concern. A candidate that is wrong is wrong about everything; the count goes on.
const KEPT_MAX: i64 = 10_000;
/// Mismatches in one answer, newest first.
const PAGE_ROWS_MAX: i64 = 1_000;
/// A comparison that waits longer means that the candidate does not keep up: it has seconds at most when all is well.
const BEHIND_AFTER: Duration = Duration::from_secs(10);

/// One difference between what core did and what the service would have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Mismatch {
    /// What was compared: "revenue 2026-11-22 EUR", or the id of an event.
    pub(crate) key: String,
    /// What of it: a column, or an effect.
    pub(crate) field: String,
    /// None where that side has nothing.
    pub(crate) control: Option<String>,
    pub(crate) candidate: Option<String>,
}

/// How a comparison stands since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Comparison {
    /// Milliseconds since 1970.
    pub(crate) since: i64,
    pub(crate) matched: i64,
    pub(crate) mismatched: i64,
    /// Begun and not yet decided.
    pub(crate) waiting: i64,
    #[serde(skip)]
    behind: bool,
}

impl Comparison {
    /// Whether the service may take over; the reason if it may not.
    pub(crate) fn clean(&self) -> Result<(), &'static str> {
        if self.mismatched > 0 {
            return Err("the comparison found mismatches, see /internal/mismatches; `dual` again starts a new one");
        }
        if self.matched == 0 {
            return Err("nothing has been compared yet, let the service run in `dual` for a while");
        }
        if self.behind {
            return Err("the service does not keep up with its comparison, see that it runs");
        }
        Ok(())
    }
}

/// Adds what was found, in the caller's transaction.
pub(crate) async fn note(
    connection: &mut AnyConnection,
    concern: Concern,
    matched: i64,
    mismatches: &[Mismatch],
    now: Timestamp,
) -> sqlx::Result<()> {
    let mismatched = i64::try_from(mismatches.len()).unwrap_or(i64::MAX);
    let query = sqlx::query(
        "UPDATE modes SET matched = matched + $1, mismatched = mismatched + $2, compared_at = $3 WHERE concern = $4",
    )
    .bind(matched)
    .bind(mismatched)
    .bind(now.as_millisecond())
    .bind(concern.as_str());
    traced(span(connection, "UPDATE", "modes"), query.execute(&mut *connection)).await?;
    for mismatch in mismatches {
        let Mismatch { key, field, control, candidate } = mismatch;
        let query = sqlx::query(
            "INSERT INTO mismatches (concern, key, field, control, candidate, found_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(concern.as_str())
        .bind(key)
        .bind(field)
        .bind(control)
        .bind(candidate)
        .bind(now.as_millisecond());
        traced(span(connection, "INSERT", "mismatches"), query.execute(&mut *connection)).await?;
        warn!(concern = concern.as_str(), "{concern}: the candidate disagrees on {field} of {key}");
    }
    if mismatched > 0 {
        prune(connection, concern).await?;
    }
    Ok(())
}

async fn prune(connection: &mut AnyConnection, concern: Concern) -> sqlx::Result<()> {
    let query = sqlx::query(
        "DELETE FROM mismatches WHERE concern = $1 AND id <=
         (SELECT id FROM mismatches WHERE concern = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
    )
    .bind(concern.as_str())
    .bind(KEPT_MAX);
    traced(span(connection, "DELETE", "mismatches"), query.execute(connection)).await?;
    Ok(())
}

/// How the comparison of a concern stands.
pub(crate) async fn read(database: &Database, concern: Concern, now: Timestamp) -> sqlx::Result<Comparison> {
    let mut connection = database.read().await?;
    let query = sqlx::query("SELECT since, matched, mismatched, compared_at FROM modes WHERE concern = $1")
        .bind(concern.as_str());
    let row = traced(span(&connection, "SELECT", "modes"), query.fetch_one(&mut *connection)).await?;
    let (waiting, oldest) = match concern {
        Concern::Jobs => {
            let query = sqlx::query_as("SELECT COUNT(*), MIN(since) FROM undecided");
            traced(span(&connection, "SELECT", "undecided"), query.fetch_one(&mut *connection)).await?
        }
        // Reports are compared all the time: what counts is when one was last.
        Concern::Analytics => (0, Some(row.try_get("compared_at")?)),
    };
    let limit = now.as_millisecond().saturating_sub(i64::try_from(BEHIND_AFTER.as_millis()).unwrap_or(i64::MAX));
    Ok(Comparison {
        since: row.try_get("since")?,
        matched: row.try_get("matched")?,
        mismatched: row.try_get("mismatched")?,
        waiting,
        behind: oldest.is_some_and(|oldest: i64| oldest < limit),
    })
}

/// A mismatch as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Found {
    concern: String,
    #[serde(flatten)]
    mismatch: Mismatch,
    /// Milliseconds since 1970.
    found_at: i64,
}

/// The newest mismatches, of one concern or of all.
pub(crate) async fn mismatches(database: &Database, concern: Option<Concern>) -> sqlx::Result<Vec<Found>> {
    let mut connection = database.read().await?;
    let query = sqlx::query(
        "SELECT concern, key, field, control, candidate, found_at FROM mismatches
         WHERE concern = $1 OR $1 = '' ORDER BY id DESC LIMIT $2",
    )
    .bind(concern.map_or("", Concern::as_str))
    .bind(PAGE_ROWS_MAX);
    let rows = traced(span(&connection, "SELECT", "mismatches"), query.fetch_all(&mut *connection)).await?;
    rows.iter()
        .map(|row| {
            Ok(Found {
                concern: row.try_get("concern")?,
                mismatch: Mismatch {
                    key: row.try_get("key")?,
                    field: row.try_get("field")?,
                    control: row.try_get("control")?,
                    candidate: row.try_get("candidate")?,
                },
                found_at: row.try_get("found_at")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_comparison_that_agreed_and_keeps_up_is_clean() {
        let clean = Comparison { since: 0, matched: 1, mismatched: 0, waiting: 3, behind: false };
        assert_eq!(clean.clean(), Ok(()));
        assert!(Comparison { matched: 0, ..clean }.clean().is_err());
        assert!(Comparison { mismatched: 1, ..clean }.clean().is_err());
        assert!(Comparison { behind: true, ..clean }.clean().is_err());
    }
}
