//! What is counted about this work, wherever it is done.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use crate::work::Effect;

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Attempts at an effect, by effect and outcome: done, failed, shadowed.
    effects: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let effects = global::meter("product-jobs")
            .u64_counter("faultline.jobs.effects")
            .with_unit("{attempt}")
            .with_description("Attempts at an effect: done, failed, or only composed to be compared (shadowed).")
            .build();
        Metrics { effects }
    }

    pub(crate) fn tried(&self, effect: Effect, outcome: &'static str) {
        self.effects.add(1, &[KeyValue::new("effect", effect.name()), KeyValue::new("outcome", outcome)]);
    }
}
