//! What this process counts about its own work.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Events that became facts, by type. One whose transaction then fails is counted again when it is retried.
    counted: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let counted = global::meter("product-analytics")
            .u64_counter("faultline.analytics.events")
            .with_unit("{event}")
            .with_description("Events that became facts, by type.")
            .build();
        Metrics { counted }
    }

    pub(crate) fn counted(&self, kind: &str) {
        self.counted.add(1, &[KeyValue::new("faultline.event.kind", kind.to_owned())]);
    }
}
