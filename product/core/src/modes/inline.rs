//! Jobs done by core itself: after the commit and before the answer, as a monolith does them.
//!
//! A row written with the business row says that the work is owed and goes when it is done. What a crash or a
//! receiver that refuses leaves behind is finished by a sweeper; the customer has the answer long before.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt;
use product_bus::Event;
use product_bus::consumer::HandlerError;
use product_bus::database::Database;
use product_jobs::Jobs;
use sqlx::{AnyConnection, Row};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Concern, Mode, shadow};
use crate::domain::{now, span, traced};
use crate::metrics::{Metrics, publish_waiting};

/// How long whoever works on an event has it to himself: longer than its slowest effects together, a mail of seven
/// commands and a webhook of two seconds each.
const LEASE: Duration = Duration::from_secs(30);
/// How often leftovers are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Leftovers taken from the table at once, and worked on at once: after an outage the requests go first.
const DUE_ROWS_MAX: i64 = 64;
const WORKERS: usize = 4;
/// Wait before the second attempt; doubled for each further one.
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(300);
/// With the delays above some three quarters of an hour. Then the row stays for whoever runs core to look at.
const ATTEMPTS_MAX: i64 = 16;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct InlineJobs {
    database: Database,
    jobs: Jobs,
    metrics: Arc<Metrics>,
    /// Rows in the table when the sweeper last looked.
    waiting: Arc<AtomicI64>,
}

/// Kinds of events from which work follows. One of another kind owes nothing and costs nothing.
const KINDS: [&str; 4] = ["payment.captured", "payment.refunded", "user.registered", "account.export_requested"];

/// Whether core does what follows from a stamped event.
pub(crate) fn is_ours(event: &Event) -> bool {
    KINDS.contains(&event.kind.as_str()) && Mode::of(event, Concern::Jobs) != Mode::Events
}

/// Notes in the transaction of what `event` tells of that core owes what follows from it.
pub(crate) async fn owe(connection: &mut AnyConnection, event: &Event, now: Timestamp) -> sqlx::Result<()> {
    let json = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let query = sqlx::query("INSERT INTO inline_jobs (event_id, event, attempts, due_at) VALUES ($1, $2, 1, $3)")
        .bind(event.id.to_string())
        .bind(json)
        .bind(after(now, LEASE));
    traced(span(connection, "INSERT", "inline_jobs"), query.execute(connection)).await?;
    Ok(())
}

/// Work that was left.
struct Leftover {
    event: Event,
    /// Including the one that begins with taking it.
    attempts: i64,
}

impl InlineJobs {
    pub(crate) fn new(database: Database, jobs: Jobs, metrics: Arc<Metrics>) -> InlineJobs {
        let waiting = Arc::<AtomicI64>::default();
        publish_waiting("inline_jobs.waiting", "Events whose work core still owes.", &waiting);
        InlineJobs { database, jobs, metrics, waiting }
    }

    /// Does what follows from a committed event. What fails is left to the sweeper: the caller's success stands.
    pub(crate) async fn perform(&self, event: Event) {
        self.attempt(Leftover { event, attempts: 1 }, "request").await;
    }

    /// Finishes what is left until `stop`, then what it has in hand.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut clock = tokio::time::interval(SWEEP_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        while stop.run_until_cancelled(clock.tick()).await.is_some() {
            match self.round(&stop).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    error!(exception.message = %error, "could not look for inline jobs that were left: {error}");
                }
                Err(_) => {}
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) -> sqlx::Result<()> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM inline_jobs").fetch_one(self.database.readers()).await?;
        self.waiting.store(count, Relaxed);
        let ids = if count > 0 { self.due().await? } else { Vec::new() };
        futures::stream::iter(ids)
            .take_while(|_| std::future::ready(!stop.is_cancelled()))
            .for_each_concurrent(WORKERS, |(id, due_at)| async move {
                match self.take(&id, due_at).await {
                    Ok(Some(leftover)) => self.resume(leftover).await,
                    Ok(None) => {} // another core was faster
                    Err(error) => error!(faultline.event.id = id, exception.message = %error,
                        "could not take the inline job {id}: {error}"),
                }
            })
            .await;
        Ok(())
    }

    /// Ids of what nobody is at, with the time that says so.
    async fn due(&self) -> sqlx::Result<Vec<(String, i64)>> {
        let mut connection = self.database.read().await?;
        let query =
            sqlx::query_as("SELECT event_id, due_at FROM inline_jobs WHERE due_at <= $1 ORDER BY due_at LIMIT $2")
                .bind(now().as_millisecond())
                .bind(DUE_ROWS_MAX);
        traced(span(&connection, "SELECT", "inline_jobs"), query.fetch_all(&mut *connection)).await
    }

    /// Takes a leftover for the time of the lease; `None` when somebody else has it.
    async fn take(&self, id: &str, due_at: i64) -> sqlx::Result<Option<Leftover>> {
        let query = sqlx::query(
            "UPDATE inline_jobs SET attempts = attempts + 1, due_at = $1 WHERE event_id = $2 AND due_at = $3
             RETURNING event, attempts",
        )
        .bind(after(now(), LEASE))
        .bind(id)
        .bind(due_at);
        let row =
            traced(self.database.dialect().span("UPDATE", "inline_jobs"), query.fetch_optional(self.database.writer()))
                .await?;
        row.map(|row| {
            let event = serde_json::from_str(row.try_get("event")?);
            let event = event.map_err(|error| crate::domain::undecodable("event", error))?;
            Ok(Leftover { event, attempts: row.try_get("attempts")? })
        })
        .transpose()
    }

    async fn resume(&self, leftover: Leftover) {
        let Event { id, kind, .. } = &leftover.event;
        let span = info_span!("finish inline job", faultline.event.id = %id, faultline.event.kind = kind,
            attempts = leftover.attempts);
        let cause = observe::context::extract(leftover.event.trace_headers());
        if cause.span().span_context().is_valid() {
            // Fails only where no subscriber made this a span: then there is nothing to be the parent of.
            let _ = span.set_parent(cause);
        }
        self.attempt(leftover, "sweep").instrument(span).await;
    }

    async fn attempt(&self, leftover: Leftover, by: &'static str) {
        let Leftover { event, attempts } = leftover;
        let done = self.jobs.perform(&event).await;
        let (outcome, noted) = match done {
            Ok(()) => ("done", self.done(&event).await),
            Err(HandlerError::Retry(reason)) if attempts < ATTEMPTS_MAX => {
                warn!(faultline.event.id = %event.id, faultline.event.kind = event.kind, attempts,
                    "attempt {attempts} at {} {} failed: {reason:#}", event.kind, event.id);
                ("later", self.put_off(&event, Some(after(now(), delay(attempts))), &reason).await)
            }
            Err(HandlerError::Retry(reason) | HandlerError::Poison(reason)) => {
                error!(faultline.event.id = %event.id, faultline.event.kind = event.kind, attempts,
                    "gave up {} {}: {reason:#}", event.kind, event.id);
                ("given_up", self.put_off(&event, None, &reason).await)
            }
        };
        let attributes = [KeyValue::new("outcome", outcome), KeyValue::new("by", by)];
        self.metrics.inline_attempts.add(1, &attributes);
        if let Err(error) = noted {
            // Each effect is noted by itself: another attempt finds them done.
            error!(faultline.event.id = %event.id, exception.message = %error,
                "could not note the inline job {}, it is looked at again", event.id);
        }
    }

    /// What was done is now to be compared, if it is, and no longer owed.
    async fn done(&self, event: &Event) -> sqlx::Result<()> {
        let mut transaction = self.database.begin().await?;
        if Mode::of(event, Concern::Jobs) == Mode::Dual {
            shadow::lay_down_control(&mut transaction, event.id, now()).await?;
        }
        let query = sqlx::query("DELETE FROM inline_jobs WHERE event_id = $1").bind(event.id.to_string());
        traced(span(&transaction, "DELETE", "inline_jobs"), query.execute(&mut *transaction)).await?;
        self.database.commit(transaction).await
    }

    async fn put_off(&self, event: &Event, due_at: Option<i64>, reason: &anyhow::Error) -> sqlx::Result<()> {
        let query = sqlx::query("UPDATE inline_jobs SET due_at = $1, error = $2 WHERE event_id = $3")
            .bind(due_at)
            .bind(format!("{reason:#}"))
            .bind(event.id.to_string());
        traced(self.database.dialect().span("UPDATE", "inline_jobs"), query.execute(self.database.writer()))
            .await
            .map(drop)
    }
}

/// Wait after so many attempts.
fn delay(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    DELAY_MIN.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(DELAY_MAX)
}

fn after(now: Timestamp, wait: Duration) -> i64 {
    now.as_millisecond().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit() {
        let delays = [1, 2, 3, 9, 10, 64, i64::MAX].map(|attempts| delay(attempts).as_secs());
        assert_eq!(delays, [1, 2, 4, 256, 300, 300, 300]);
    }
}
