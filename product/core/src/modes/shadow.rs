//! Compares what core did for an event with what the jobs service would have done.
//!
//! For an event routed `dual` core does the work and notes a digest of each effect; the service composes the same
//! effects, performs none and notes their digests, which are fetched from it here. The service can be late, wrong or
//! away: a customer never notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use observe::http::Client;
use product_bus::database::Database;
use product_jobs::shadow::Noted;
use sqlx::{AnyConnection, Row};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::comparison::{self, Mismatch};
use super::{Concern, Modes};
use crate::domain::{now, span, traced};
use crate::metrics::{Metrics, publish_waiting};

const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// Digests taken in at once: in one transaction, for which requests wait on SQLite.
const PAGE_ROWS: i64 = 200;
/// One question to the service.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// What one side has and the other still lacks after this time is a mismatch. Longer than the service's third retry.
const MISSING_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Comparer {
    database: Database,
    modes: Modes,
    metrics: Arc<Metrics>,
    client: Client,
    /// Of the service's list.
    url: String,
    /// What the service asks operators for.
    token: Option<String>,
    waiting: Arc<AtomicI64>,
}

impl Comparer {
    pub(crate) fn new(
        database: Database,
        modes: Modes,
        metrics: Arc<Metrics>,
        jobs_url: &str,
        token: Option<String>,
    ) -> Comparer {
        let waiting = Arc::<AtomicI64>::default();
        publish_waiting("comparisons.waiting", "Effects of which one side has told and the other has not.", &waiting);
        let url = format!("{}/internal/shadow", jobs_url.trim_end_matches('/'));
        Comparer { database, modes, metrics, client: Client::new(ANSWER_MAX), url, token, waiting }
    }

    /// Compares until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut clock = tokio::time::interval(COMPARE_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        while stop.run_until_cancelled(clock.tick()).await.is_some() {
            match stop.run_until_cancelled(self.round()).await {
                Some(Ok(())) if std::mem::take(&mut failing) => info!("jobs are compared again"),
                Some(Err(error)) if !std::mem::replace(&mut failing, true) => {
                    warn!("could not compare what the jobs service would do: {error:#}");
                }
                _ => {}
            }
        }
    }

    async fn round(&self) -> anyhow::Result<()> {
        if self.count_waiting().await? == 0 && !self.modes.compares(Concern::Jobs) {
            return Ok(());
        }
        self.fetch().await?;
        // Only after it was asked: a service that is away is behind, not wrong.
        let missing_since = now().as_millisecond().saturating_sub(i64::try_from(MISSING_AFTER.as_millis())?);
        self.decide(missing_since).await?;
        self.count_waiting().await?;
        Ok(())
    }

    /// Takes in what the service has noted since the last time.
    async fn fetch(&self) -> anyhow::Result<()> {
        loop {
            let after = read_to(&mut *self.database.read().await?).await?;
            let url = format!("{}?after={after}&limit={PAGE_ROWS}", self.url);
            let request = self.client.get(url);
            let request = match &self.token {
                Some(token) => request.bearer(token),
                None => request,
            };
            let answer = request.send().await.context("the jobs service gave no answer")?;
            let mut list: Vec<Noted> = answer.error_for_status()?.json().await.context("it gave no list of digests")?;
            let Some(last) = list.iter().map(|noted| noted.seq).max() else { return Ok(()) };
            anyhow::ensure!(last > after, "the jobs service repeats its list");
            // The order in which core lays its own down: two that take the same locks take them in turn.
            list.sort_by(|a, b| (&a.event_id, &a.effect).cmp(&(&b.event_id, &b.effect)));
            let mut transaction = self.database.begin().await?;
            for noted in &list {
                lay_down_candidate(&mut transaction, noted, now()).await?;
            }
            set_read_to(&mut transaction, last).await?;
            self.database.commit(transaction).await?;
        }
    }

    /// Decides on what both sides have said, and on what one of them has not said since before `missing_since`.
    async fn decide(&self, missing_since: i64) -> anyhow::Result<()> {
        loop {
            let mut transaction = self.database.begin().await?;
            let pairs = ripe(&mut transaction, missing_since).await?;
            if pairs.is_empty() {
                return Ok(());
            }
            for pair in &pairs {
                forget(&mut transaction, pair).await?;
            }
            let (matches, mismatches): (Vec<_>, Vec<_>) =
                pairs.into_iter().partition(|pair: &Mismatch| pair.control == pair.candidate);
            let matched = i64::try_from(matches.len())?;
            comparison::note(&mut transaction, Concern::Jobs, matched, &mismatches, now()).await?;
            self.database.commit(transaction).await?;
            self.metrics.compared(Concern::Jobs, matches.len(), mismatches.len());
        }
    }

    async fn count_waiting(&self) -> sqlx::Result<i64> {
        let query = sqlx::query_scalar("SELECT COUNT(*) FROM undecided");
        let count = query.fetch_one(self.database.readers()).await?;
        self.waiting.store(count, Relaxed);
        Ok(count)
    }
}

async fn read_to(connection: &mut AnyConnection) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar("SELECT read_to FROM modes WHERE concern = 'jobs'");
    traced(span(connection, "SELECT", "modes"), query.fetch_one(connection)).await
}

async fn set_read_to(connection: &mut AnyConnection, seq: i64) -> sqlx::Result<()> {
    let query = sqlx::query("UPDATE modes SET read_to = $1 WHERE concern = 'jobs'").bind(seq);
    traced(span(connection, "UPDATE", "modes"), query.execute(connection)).await.map(drop)
}

/// Takes over the digests that the jobs in core have noted for an event.
pub(super) async fn lay_down_control(connection: &mut AnyConnection, event: Uuid, now: Timestamp) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO undecided (event_id, effect, control, since)
         SELECT event_id, effect, digest, $1 FROM digests WHERE event_id = $2 ORDER BY effect
         ON CONFLICT (event_id, effect) DO UPDATE SET control = excluded.control",
    )
    .bind(now.as_millisecond())
    .bind(event.to_string());
    traced(span(connection, "INSERT", "undecided"), query.execute(connection)).await.map(drop)
}

async fn lay_down_candidate(connection: &mut AnyConnection, noted: &Noted, now: Timestamp) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO undecided (event_id, effect, candidate, since) VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id, effect) DO UPDATE SET candidate = excluded.candidate",
    )
    .bind(&noted.event_id)
    .bind(&noted.effect)
    .bind(&noted.digest)
    .bind(now.as_millisecond());
    traced(span(connection, "INSERT", "undecided"), query.execute(connection)).await.map(drop)
}

/// Pairs on which a decision can be made. Core is not wrong about what it still owes.
async fn ripe(connection: &mut AnyConnection, missing_since: i64) -> sqlx::Result<Vec<Mismatch>> {
    let query = sqlx::query(
        "SELECT event_id, effect, control, candidate FROM undecided
         WHERE (control IS NOT NULL AND candidate IS NOT NULL)
            OR (since < $1 AND NOT EXISTS (SELECT 1 FROM inline_jobs WHERE inline_jobs.event_id = undecided.event_id))
         LIMIT $2",
    )
    .bind(missing_since)
    .bind(PAGE_ROWS);
    let rows = traced(span(connection, "SELECT", "undecided"), query.fetch_all(connection)).await?;
    rows.iter()
        .map(|row| {
            Ok(Mismatch {
                key: row.try_get("event_id")?,
                field: row.try_get("effect")?,
                control: row.try_get("control")?,
                candidate: row.try_get("candidate")?,
            })
        })
        .collect()
}

async fn forget(connection: &mut AnyConnection, pair: &Mismatch) -> sqlx::Result<()> {
    let query =
        sqlx::query("DELETE FROM undecided WHERE event_id = $1 AND effect = $2").bind(&pair.key).bind(&pair.field);
    traced(span(connection, "DELETE", "undecided"), query.execute(connection)).await.map(drop)
}
