//! What this process counts about its own work.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Events applied to projections, by type. One whose transaction then fails is counted again when it is retried.
    applied: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let applied = global::meter("product-analytics")
            .u64_counter("faultline.analytics.events")
            .with_unit("{event}")
            .with_description("Events applied to projections, by type.")
            .build();
        Metrics { applied }
    }

    pub(crate) fn applied(&self, kind: &str) {
        self.applied.add(1, &[KeyValue::new("event.kind", kind.to_owned())]);
    }
}
