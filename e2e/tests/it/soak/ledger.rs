//! What was acknowledged, and whether it is where it should be.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::far_ends::ClickHouse;
use super::load::{ITEMS, Signal};

/// Requests of one question: as many rows as an answer may have, and memory for their distinct items.
const REQUESTS_A_QUESTION: u64 = 9_000;
/// Items of one request have one time, those of the next this much later: a question is a range of times.
const REQUEST_NS: u64 = 1_000_000;

pub(crate) struct Ledger {
    start_ns: u64,
    next: AtomicU64,
    answered: Mutex<HashSet<u64>>,
    unanswered: AtomicU64,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Ledger> {
        let start_ns = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
        Arc::new(Ledger {
            start_ns,
            next: AtomicU64::new(0),
            answered: Mutex::default(),
            unanswered: AtomicU64::new(0),
        })
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    pub(crate) fn time_ns(&self, request: u64) -> u64 {
        self.start_ns + request * REQUEST_NS
    }

    pub(crate) fn note(&self, request: u64, answered: bool) {
        if answered {
            self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(request);
        } else {
            self.unanswered.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn answered_requests(&self) -> u64 {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    pub(crate) fn answered_items(&self) -> u64 {
        self.answered_requests() * ITEMS
    }

    pub(crate) fn unanswered_requests(&self) -> u64 {
        self.unanswered.load(Relaxed)
    }

    /// Each acknowledged request is in the store whole and once, each other one as well or not at all; and each of `places` has
    /// what the store has.
    pub(crate) async fn compare(&self, store: &Place<'_>, places: &[Place<'_>]) -> anyhow::Result<()> {
        let end = self.next.load(Relaxed);
        for first in (0..end).step_by(REQUESTS_A_QUESTION as usize) {
            let last = end.min(first + REQUESTS_A_QUESTION);
            let times = self.time_ns(first)..self.time_ns(last);
            for signal in Signal::ALL {
                let kept = store.requests(signal, &times).await.with_context(|| store.name())?;
                self.check(signal, first..last, &kept)?;
                for place in places {
                    let found = place.requests(signal, &times).await.with_context(|| place.name())?;
                    let differs = kept.iter().find(|(request, items)| found.get(request) != Some(items));
                    ensure!(
                        differs.is_none() && found.len() == kept.len(),
                        "{}: {} requests of {} in place of {}, such as {differs:?}",
                        place.name(),
                        found.len(),
                        signal.name(),
                        kept.len(),
                    );
                }
            }
        }
        Ok(())
    }

    fn check(&self, signal: Signal, range: std::ops::Range<u64>, kept: &Requests) -> anyhow::Result<()> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        for request in range.filter(|request| Signal::of(*request) == signal) {
            match kept.get(&request) {
                Some(items) => ensure!(*items == (ITEMS, ITEMS), "request {request} has {items:?} items"),
                None => ensure!(!answered.contains(&request), "request {request} was acknowledged and is gone"),
            }
        }
        Ok(())
    }
}

/// Rows and distinct items of each request.
type Requests = HashMap<u64, (u64, u64)>;

pub(crate) enum Place<'a> {
    Store(e2e::Query),
    ClickHouse(&'a ClickHouse),
}

impl Place<'_> {
    pub(crate) fn name(&self) -> String {
        match self {
            Place::Store(_) => "a store".to_owned(),
            Place::ClickHouse(_) => "ClickHouse".to_owned(),
        }
    }

    /// Of each signal.
    pub(crate) async fn rows(&self) -> anyhow::Result<Vec<u64>> {
        let mut rows = Vec::new();
        for signal in Signal::ALL {
            rows.push(match self {
                Place::Store(query) => {
                    let table = store_table(signal);
                    query.number(&format!("SELECT count(*) FROM {table} WHERE service = 'soak'")).await? as u64
                }
                Place::ClickHouse(clickhouse) => {
                    let (table, _, _) = clickhouse_table(signal);
                    let count = clickhouse.ask(&format!("SELECT count() FROM {table}")).await;
                    // There is no table before there are rows.
                    count.map_or(0, |text| text.trim().parse().unwrap_or(0))
                }
            });
        }
        Ok(rows)
    }

    async fn requests(&self, signal: Signal, times: &std::ops::Range<u64>) -> anyhow::Result<Requests> {
        match self {
            Place::Store(query) => {
                let table = store_table(signal);
                let rows = query
                    .sql(&format!(
                        "SELECT attributes['request'] AS request, count(*) AS items, \
                         count(DISTINCT attributes['item']) AS distinct_items FROM {table} WHERE service = 'soak' \
                         AND time >= to_timestamp_nanos({}) AND time < to_timestamp_nanos({}) GROUP BY 1",
                        times.start, times.end
                    ))
                    .await?;
                rows.iter().map(of_row).collect::<Option<_>>().with_context(|| format!("strange rows: {rows:?}"))
            }
            Place::ClickHouse(clickhouse) => {
                let (table, time, attributes) = clickhouse_table(signal);
                let text = clickhouse
                    .ask(&format!(
                        "SELECT {attributes}['request'], count(), uniqExact({attributes}['item']) FROM {table} \
                         WHERE toUnixTimestamp64Nano({time}) >= {} AND toUnixTimestamp64Nano({time}) < {} GROUP BY 1",
                        times.start, times.end
                    ))
                    .await?;
                text.lines().map(of_line).collect::<Option<_>>().with_context(|| format!("strange rows: {text}"))
            }
        }
    }
}

fn of_row(row: &Value) -> Option<(u64, (u64, u64))> {
    let request = row["request"].as_str()?.parse().ok()?;
    Some((request, (row["items"].as_u64()?, row["distinct_items"].as_u64()?)))
}

fn of_line(line: &str) -> Option<(u64, (u64, u64))> {
    let mut cells = line.split('\t').map(|cell| cell.parse().ok());
    Some((cells.next()??, (cells.next()??, cells.next()??)))
}

fn store_table(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "spans",
        Signal::Logs => "logs",
        Signal::Metrics => "metrics",
    }
}

/// With its column of times and that of attributes.
fn clickhouse_table(signal: Signal) -> (&'static str, &'static str, &'static str) {
    match signal {
        Signal::Traces => ("otel_traces", "Timestamp", "SpanAttributes"),
        Signal::Logs => ("otel_logs", "Timestamp", "LogAttributes"),
        Signal::Metrics => ("otel_metrics_gauge", "TimeUnix", "Attributes"),
    }
}
