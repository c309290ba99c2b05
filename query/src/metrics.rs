//! What the query part says about itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use observe::{Durations, REQUEST_BOUNDARIES_S};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, ObservableGauge};
use tokio::sync::Semaphore;
use tracing::Span;

pub(crate) struct Metrics {
    /// Time from question to last row, waiting included, by outcome, in seconds.
    duration: Durations,
    /// Questions answered 503 because too many wait.
    pub(crate) refused: Counter<u64>,
    /// Questions that run or wait.
    _admitted: ObservableGauge<u64>,
    /// Questions that may run or wait.
    _capacity: ObservableGauge<u64>,
}

impl Metrics {
    pub(crate) fn new(admitted: &Arc<Semaphore>, capacity: usize) -> Metrics {
        let meter = opentelemetry::global::meter("query");
        let free: Weak<Semaphore> = Arc::downgrade(admitted);
        let taken = move || free.upgrade().map(|free| capacity.saturating_sub(free.available_permits()) as u64);
        Metrics {
            duration: Durations::new(
                "query",
                "faultline.query.duration",
                "Time from question to last row, waiting included, by outcome",
                &REQUEST_BOUNDARIES_S,
            ),
            refused: meter
                .u64_counter("faultline.query.refused")
                .with_unit("{query}")
                .with_description("Questions answered 503 because too many wait")
                .build(),
            _admitted: meter
                .u64_observable_gauge("faultline.query.admitted")
                .with_unit("{query}")
                .with_description("Questions that run or wait")
                .with_callback(move |gauge| {
                    if let Some(taken) = taken() {
                        gauge.observe(taken, &[]);
                    }
                })
                .build(),
            _capacity: meter
                .u64_observable_gauge("faultline.query.admitted.limit")
                .with_unit("{query}")
                .with_description("Questions that may run or wait")
                .with_callback(move |gauge| gauge.observe(capacity as u64, &[]))
                .build(),
        }
    }

    pub(crate) fn record(&self, took: Duration, outcome: &'static str, span: &Span) {
        self.duration.record(took, &[KeyValue::new("outcome", outcome)], span);
    }
}
