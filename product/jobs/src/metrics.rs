//! What this process counts about its own work.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use crate::payment::Occasion;

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Receipts written, by occasion.
    receipts: Counter<u64>,
    /// Attempts to deliver a webhook, by outcome: delivered, refused, unreachable.
    webhooks: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let meter = global::meter("product-jobs");
        Metrics {
            receipts: meter
                .u64_counter("faultline.jobs.receipts")
                .with_unit("{receipt}")
                .with_description("Receipts written.")
                .build(),
            webhooks: meter
                .u64_counter("faultline.jobs.webhooks")
                .with_unit("{attempt}")
                .with_description("Attempts to deliver a webhook, by outcome.")
                .build(),
        }
    }

    pub(crate) fn receipt_written(&self, occasion: Occasion) {
        self.receipts.add(1, &[KeyValue::new("payment.status", occasion.name())]);
    }

    pub(crate) fn webhook_tried(&self, outcome: &'static str) {
        self.webhooks.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}
