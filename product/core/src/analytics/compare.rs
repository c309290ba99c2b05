//! Lays a report of core beside that of the service, both as of the same event.
//!
//! Control's rows, the number of the last event they contain (the watermark) and how many events there are up to it
//! are read in one snapshot. The service is asked for the same report as of that event until it has counted as many:
//! then both sides know the same, and a row that differs is a difference in what they make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use product_analytics::COUNTED;
use product_analytics::reports::{self, Query, Report};
use product_bus::database::Dialect;
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::Reports;
use super::service::Candidate;
use crate::domain::{now, span, traced};
use crate::modes::Concern;
use crate::modes::comparison::{self, Mismatch};

/// Between two questions of our own while reports are compared, so that a comparison needs no customer.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Between two looks whether the service has counted what we have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For the service to catch up. After that the comparison is given up: nobody can say who is right.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// How long those who write may be held up on PostgreSQL by somebody who wants to know where they are.
const HOLD_MAX: &str = "SET LOCAL lock_timeout = '50ms'";

/// Core's side at a watermark.
pub(super) struct Control {
    pub(super) rows: Vec<Value>,
    /// Events between these rows of the outbox, the first excluded, are those that were counted.
    between: (i64, i64),
    counted: i64,
}

impl Reports {
    /// Asks the reports in turn while they are compared, until `stop`.
    pub(crate) async fn compare_by_the_clock(self, stop: CancellationToken) {
        let mut clock = tokio::time::interval(ASK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for report in Report::ALL.into_iter().cycle() {
            if stop.run_until_cancelled(clock.tick()).await.is_none() {
                return;
            }
            if !self.modes.compares(Concern::Analytics) {
                continue;
            }
            let Ok(_place) = self.places.try_acquire() else { continue };
            let ask = async {
                match self.control(report, &Query::default()).await {
                    Ok(Some(control)) => self.compare(report, Query::default(), control).await,
                    Ok(None) => {}
                    Err(error) => error!(exception.message = %error, "could not aggregate {report}: {error}"),
                }
            };
            stop.run_until_cancelled(ask).await;
        }
    }

    /// Core's rows with their watermark; `None` when finding it would hold others up.
    pub(super) async fn control(&self, report: Report, query: &Query) -> sqlx::Result<Option<Control>> {
        let begin = match self.database.dialect() {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut connection = self.database.read().await?;
        let mut snapshot = connection.begin_with(begin).await?;
        // On SQLite rows commit in the order of their numbers. On PostgreSQL one with a smaller number may still be on
        // its way, unless nobody writes in the moment in which the first statement takes the snapshot.
        let held = match self.database.dialect() {
            Dialect::Sqlite => None,
            Dialect::Postgres => match self.hold().await {
                Ok(held) => Some(held),
                Err(error) => {
                    debug!("a report is not compared, its watermark cannot be had: {error}");
                    return Ok(None);
                }
            },
        };
        let between = watermark(&mut snapshot).await?;
        if let Some(held) = held {
            held.rollback().await?;
        }
        let counted = counted(&mut snapshot, between).await?;
        let rows = reports::rows(&mut snapshot, report, query, None).await?;
        snapshot.rollback().await?;
        Ok(Some(Control { rows, between, counted }))
    }

    /// Keeps writers of events out until it is rolled back.
    async fn hold(&self) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Any>> {
        let mut transaction = self.database.begin().await?;
        sqlx::query(HOLD_MAX).execute(&mut *transaction).await?;
        let lock = sqlx::query("LOCK TABLE outbox IN SHARE MODE");
        traced(span(&transaction, "LOCK", "outbox"), lock.execute(&mut *transaction)).await?;
        Ok(transaction)
    }

    /// Decides, whatever becomes of the service: a customer never waits for it.
    pub(super) async fn compare(&self, report: Report, query: Query, control: Control) {
        let Some(candidate) = self.candidate(report, &query, &control).await else {
            return self.metrics.not_compared(Concern::Analytics);
        };
        let (matched, mismatches) = differences(report, &control.rows, &candidate.rows);
        let noted = async {
            let mut transaction = self.database.begin().await?;
            let count = i64::try_from(matched).unwrap_or(i64::MAX);
            comparison::note(&mut transaction, Concern::Analytics, count, &mismatches, now()).await?;
            self.database.commit(transaction).await
        };
        match noted.await {
            Ok(()) => self.metrics.compared(Concern::Analytics, matched, mismatches.len()),
            Err(error) => error!(exception.message = %error, "could not note a comparison: {error}"),
        }
    }

    /// What the service says once it has counted what we have.
    async fn candidate(&self, report: Report, query: &Query, control: &Control) -> Option<Candidate> {
        let give_up = Instant::now() + CATCH_UP_MAX;
        let mut clock = tokio::time::interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < give_up {
            clock.tick().await;
            match self.service.rows_at(report, query, control.between).await {
                Ok(candidate) if candidate.applied == control.counted => return Some(candidate),
                Ok(candidate) => {
                    debug!("the service has counted {} of {} events", candidate.applied, control.counted);
                }
                Err(error) => debug!("{report} is not compared yet: {error:#}"),
            }
        }
        None
    }
}

/// The numbers before the first and of the last event that there is.
async fn watermark(connection: &mut AnyConnection) -> sqlx::Result<(i64, i64)> {
    let query = sqlx::query_as("SELECT COALESCE(MIN(id), 1) - 1, COALESCE(MAX(id), 0) FROM outbox");
    traced(span(connection, "SELECT", "outbox"), query.fetch_one(connection)).await
}

async fn counted(connection: &mut AnyConnection, (after, through): (i64, i64)) -> sqlx::Result<i64> {
    let kinds = COUNTED.map(|kind| format!("'{kind}'")).join(", ");
    let sql = format!("SELECT COUNT(*) FROM outbox WHERE id > $1 AND id <= $2 AND kind IN ({kinds})");
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(after).bind(through);
    traced(span(connection, "SELECT", "outbox"), query.fetch_one(connection)).await
}

/// Rows by key, then field by field. How many rows agree, and what does not.
fn differences(report: Report, control: &[Value], candidate: &[Value]) -> (usize, Vec<Mismatch>) {
    let keyed =
        |rows: &[Value]| -> BTreeMap<String, Value> { rows.iter().map(|row| (report.key(row), row.clone())).collect() };
    let (control, mut candidate) = (keyed(control), keyed(candidate));
    let (mut matched, mut mismatches) = (0, Vec::new());
    for (key, row) in control {
        let before = mismatches.len();
        match candidate.remove(&key) {
            Some(other) => unequal_fields(report, &key, &row, &other, &mut mismatches),
            None => mismatches.push(mismatch(report, &key, "row", Some(&row), None)),
        }
        matched += usize::from(mismatches.len() == before);
    }
    mismatches.extend(candidate.iter().map(|(key, row)| mismatch(report, key, "row", None, Some(row))));
    // Two reports without a row agree as well.
    (if matched == 0 && mismatches.is_empty() { 1 } else { matched }, mismatches)
}

fn unequal_fields(report: Report, key: &str, control: &Value, candidate: &Value, found: &mut Vec<Mismatch>) {
    let fields = |row: &Value| row.as_object().cloned().unwrap_or_default();
    let (control, mut candidate) = (fields(control), fields(candidate));
    for (field, value) in &control {
        let other = candidate.remove(field);
        if other.as_ref() != Some(value) {
            found.push(mismatch(report, key, field, Some(value), other.as_ref()));
        }
    }
    found.extend(candidate.iter().map(|(field, other)| mismatch(report, key, field, None, Some(other))));
}

fn mismatch(report: Report, key: &str, field: &str, control: Option<&Value>, candidate: Option<&Value>) -> Mismatch {
    Mismatch {
        key: format!("{report} {key}"),
        field: field.to_owned(),
        control: control.map(Value::to_string),
        candidate: candidate.map(Value::to_string),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn revenue(day: &str, captured: i64) -> Value {
        json!({ "day": day, "currency": "EUR", "captured_minor": captured, "refunded_minor": 0, "payments": 1 })
    }

    #[test]
    fn equal_reports_agree_row_by_row_in_any_order() {
        let (one, two) = (revenue("2026-11-21", 1), revenue("2026-11-22", 2));
        let compared = differences(Report::Revenue, &[one.clone(), two.clone()], &[two, one]);
        assert_eq!(compared, (2, Vec::new()));
        assert_eq!(differences(Report::Revenue, &[], &[]), (1, Vec::new()));
    }

    #[test]
    fn a_difference_is_named_by_row_and_field() {
        let control = [revenue("2026-11-21", 1), revenue("2026-11-22", 2)];
        let candidate = [revenue("2026-11-22", 3), revenue("2026-11-23", 4)];
        let (matched, mut mismatches) = differences(Report::Revenue, &control, &candidate);
        assert_eq!(matched, 0);
        mismatches.sort_by(|a, b| a.key.cmp(&b.key));
        let told: Vec<_> = mismatches
            .iter()
            .map(|found| (found.field.as_str(), found.control.is_some(), found.candidate.as_deref()))
            .collect();
        assert_eq!(told[0], ("row", true, None));
        assert_eq!(told[1], ("captured_minor", true, Some("3")));
        assert_eq!((told[2].0, told[2].1), ("row", false));
        assert!(mismatches[1].key.starts_with("revenue ") && mismatches[1].key.contains("2026-11-22"));
    }
}
