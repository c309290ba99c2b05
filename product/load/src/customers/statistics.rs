//! What was sent and what came of it, by endpoint.
//!
//! Latency runs from the moment a request was meant to be sent to the answer that settled it, so neither a busy
//! generator nor a request sent again hides in it; how late the generator itself was is told apart. Percentiles are of
//! acknowledged requests; failures are counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use serde::Serialize;
use tokio::time::Instant;

use super::latencies::Latencies;
use super::locked;
use super::plan::Endpoint;
use super::samples::{Outcome, Samples, Settled};

/// Seconds; those of the HTTP semantic conventions.
const LATENCY_BOUNDARIES_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

pub(super) struct Statistics {
    endpoints: Mutex<BTreeMap<Endpoint, Tally>>,
    /// Where every settled request is written, if anywhere.
    samples: Option<Samples>,
    /// Time from the intended sending to the answer, by endpoint and outcome.
    latency: Histogram<f64>,
    /// Requests not sent: too many were under way, or nobody could make them.
    skipped: Counter<u64>,
}

struct Tally {
    sent: u64,
    acknowledged: u64,
    failed: u64,
    sent_again: u64,
    skipped: u64,
    latencies: Latencies,
    /// From the intended moment to the sending.
    lateness: Latencies,
}

/// The sums of a run so far.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// In the order of the plan; those never planned are left out.
    pub endpoints: Vec<EndpointSummary>,
    pub all: EndpointSummary,
}

/// The sums of one endpoint. `sent` is `acknowledged + failed` once nothing is under way.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointSummary {
    pub name: &'static str,
    pub sent: u64,
    pub acknowledged: u64,
    pub failed: u64,
    /// Further attempts at a request that got no usable answer; not part of `sent`.
    pub sent_again: u64,
    /// Planned and not sent, because too many were under way or nobody could make them.
    pub skipped: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// How long after its intended moment the generator sent a request: its own share of every latency.
    pub late_p99_ms: f64,
}

impl Statistics {
    pub(super) fn new(samples: Option<Samples>) -> Statistics {
        let meter = global::meter("product-load");
        Statistics {
            endpoints: Mutex::new(BTreeMap::new()),
            samples,
            latency: meter
                .f64_histogram("faultline.load.duration")
                .with_unit("s")
                .with_description("Time from the intended sending of a request to the answer that settled it.")
                .with_boundaries(LATENCY_BOUNDARIES_S.to_vec())
                .build(),
            skipped: meter
                .u64_counter("faultline.load.skipped")
                .with_unit("{request}")
                .with_description("Requests not sent: too many were under way, or nobody could make them.")
                .build(),
        }
    }

    fn change(&self, endpoint: Endpoint, change: impl FnOnce(&mut Tally)) {
        change(locked(&self.endpoints).entry(endpoint).or_insert_with(Tally::new));
    }

    pub(super) fn sent(&self, endpoint: Endpoint, late: Duration) {
        self.change(endpoint, |tally| {
            tally.sent += 1;
            tally.lateness.add(late);
        });
    }

    pub(super) fn sent_again(&self, endpoint: Endpoint) {
        self.change(endpoint, |tally| tally.sent_again += 1);
    }

    pub(super) fn skipped(&self, endpoint: Endpoint, intended: Instant) {
        self.change(endpoint, |tally| tally.skipped += 1);
        self.skipped.add(1, &[KeyValue::new("endpoint", endpoint.name())]);
        self.sample(
            endpoint,
            Settled { intended, late: Duration::ZERO, latency: Duration::ZERO, status: 0 },
            Outcome::Skipped,
        );
    }

    pub(super) fn acknowledged(&self, endpoint: Endpoint, settled: Settled) {
        self.change(endpoint, |tally| {
            tally.acknowledged += 1;
            tally.latencies.add(settled.latency);
        });
        self.record(endpoint, settled.latency, "acknowledged");
        self.sample(endpoint, settled, Outcome::Acknowledged);
    }

    pub(super) fn failed(&self, endpoint: Endpoint, settled: Settled) {
        self.change(endpoint, |tally| tally.failed += 1);
        self.record(endpoint, settled.latency, "failed");
        self.sample(endpoint, settled, Outcome::Failed);
    }

    fn record(&self, endpoint: Endpoint, latency: Duration, outcome: &'static str) {
        let attributes = [KeyValue::new("endpoint", endpoint.name()), KeyValue::new("outcome", outcome)];
        self.latency.record(latency.as_secs_f64(), &attributes);
    }

    fn sample(&self, endpoint: Endpoint, settled: Settled, outcome: Outcome) {
        if let Some(samples) = &self.samples {
            samples.add(endpoint.name(), settled, outcome);
        }
    }

    /// Every sample is in its file when this is `Ok`.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.samples.as_ref().map_or(Ok(()), Samples::finish)
    }

    pub(super) fn summary(&self) -> Summary {
        let endpoints = locked(&self.endpoints);
        let mut all = Tally::new();
        for tally in endpoints.values() {
            all.merge(tally);
        }
        Summary {
            endpoints: endpoints.iter().map(|(endpoint, tally)| tally.summary(endpoint.name())).collect(),
            all: all.summary("all"),
        }
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            sent: 0,
            acknowledged: 0,
            failed: 0,
            sent_again: 0,
            skipped: 0,
            latencies: Latencies::new(),
            lateness: Latencies::new(),
        }
    }

    fn merge(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.sent_again += other.sent_again;
        self.skipped += other.skipped;
        self.latencies.merge(&other.latencies);
        self.lateness.merge(&other.lateness);
    }

    fn summary(&self, name: &'static str) -> EndpointSummary {
        let ms = |latencies: &Latencies, share| latencies.quantile(share).as_secs_f64() * 1_000.0;
        EndpointSummary {
            name,
            sent: self.sent,
            acknowledged: self.acknowledged,
            failed: self.failed,
            sent_again: self.sent_again,
            skipped: self.skipped,
            p50_ms: ms(&self.latencies, 0.50),
            p95_ms: ms(&self.latencies, 0.95),
            p99_ms: ms(&self.latencies, 0.99),
            late_p99_ms: ms(&self.lateness, 0.99),
        }
    }
}

impl Summary {
    /// One sentence for the log.
    pub fn line(&self) -> String {
        let all = &self.all;
        format!(
            "sent {}, acknowledged {}, failed {}, sent again {}, skipped {}; p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms; \
             sent late by {:.2} ms at p99",
            all.sent,
            all.acknowledged,
            all.failed,
            all.sent_again,
            all.skipped,
            all.p50_ms,
            all.p95_ms,
            all.p99_ms,
            all.late_p99_ms,
        )
    }

    /// A table, line by line.
    pub fn table(&self) -> Vec<String> {
        let head = format!(
            "{:<30} {:>8} {:>12} {:>8} {:>10} {:>8} {:>9} {:>9} {:>9} {:>8}",
            "endpoint",
            "sent",
            "acknowledged",
            "failed",
            "sent again",
            "skipped",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "late ms",
        );
        let rows = self.endpoints.iter().chain([&self.all]).map(|row| {
            format!(
                "{:<30} {:>8} {:>12} {:>8} {:>10} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>8.2}",
                row.name,
                row.sent,
                row.acknowledged,
                row.failed,
                row.sent_again,
                row.skipped,
                row.p50_ms,
                row.p95_ms,
                row.p99_ms,
                row.late_p99_ms,
            )
        });
        std::iter::once(head).chain(rows).collect()
    }
}
