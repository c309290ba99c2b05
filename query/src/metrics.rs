//! What the query part says about itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, ObservableGauge};
use tokio::sync::Semaphore;

pub(crate) struct Metrics {
    /// Time from question to last row, waiting included, by outcome, in seconds.
    duration: Histogram<f64>,
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
            duration: meter
                .f64_histogram("faultline.query.duration")
                .with_unit("s")
                .with_description("Time from question to last row, waiting included, by outcome")
                .build(),
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

    pub(crate) fn record(&self, took: Duration, outcome: &'static str) {
        self.duration.record(took.as_secs_f64(), &[KeyValue::new("outcome", outcome)]);
    }
}
