//! What core measures about its business; requests and database calls are measured by `observe`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use crate::domain::payments::{Payment, Status};
use crate::modes::Concern;

pub(crate) struct Metrics {
    payments_created: Counter<u64>,
    payments_amount: Histogram<u64>,
    payments_refunded: Counter<u64>,
    registrations: Counter<u64>,
    logins: Counter<u64>,
    pub(crate) inline_attempts: Counter<u64>,
    comparisons: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let meter = global::meter("product-core");
        Metrics {
            payments_created: meter
                .u64_counter("payments.created")
                .with_unit("{payment}")
                .with_description("Payments the acquirer has decided on, by status and currency.")
                .build(),
            payments_amount: meter
                .u64_histogram("payments.amount")
                .with_unit("{minor_unit}")
                .with_description("Amounts of captured payments in the smallest unit of their currency.")
                .with_boundaries(vec![100.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8])
                .build(),
            payments_refunded: meter
                .u64_counter("payments.refunded")
                .with_unit("{payment}")
                .with_description("Payments given back, by currency.")
                .build(),
            registrations: meter
                .u64_counter("accounts.registrations")
                .with_unit("{account}")
                .with_description("Attempts to register, by outcome.")
                .build(),
            logins: meter
                .u64_counter("accounts.logins")
                .with_unit("{login}")
                .with_description("Attempts to log in, by outcome.")
                .build(),
            inline_attempts: meter
                .u64_counter("inline_jobs.attempts")
                .with_unit("{attempt}")
                .with_description("Attempts at jobs that core does itself, by outcome and by who made them.")
                .build(),
            comparisons: meter
                .u64_counter("comparisons")
                .with_unit("{comparison}")
                .with_description("Results of core laid beside those of the service that is to take over, by outcome.")
                .build(),
        }
    }

    pub(crate) fn payment_decided(&self, payment: &Payment) {
        let status = KeyValue::new("status", payment.status.as_str());
        self.payments_created.add(1, &[status, currency(payment)]);
        self.payment_changed(payment);
    }

    pub(crate) fn payment_changed(&self, payment: &Payment) {
        match payment.status {
            Status::Captured => {
                self.payments_amount.record(payment.money.amount_minor().unsigned_abs(), &[currency(payment)]);
            }
            Status::Refunded => self.payments_refunded.add(1, &[currency(payment)]),
            _ => {}
        }
    }

    pub(crate) fn compared(&self, concern: Concern, matched: usize, mismatched: usize) {
        for (outcome, count) in [("matched", matched), ("mismatched", mismatched)] {
            self.comparisons
                .add(count as u64, &[KeyValue::new("concern", concern.as_str()), KeyValue::new("outcome", outcome)]);
        }
    }

    /// One side did not say what it would have done.
    pub(crate) fn not_compared(&self, concern: Concern) {
        let attributes = [KeyValue::new("concern", concern.as_str()), KeyValue::new("outcome", "undecided")];
        self.comparisons.add(1, &attributes);
    }

    pub(crate) fn registration(&self, outcome: &'static str) {
        self.registrations.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}

fn currency(payment: &Payment) -> KeyValue {
    KeyValue::new("currency", payment.money.currency())
}

/// Publishes a queue in the database, as long as whoever counts it lives.
pub(crate) fn publish_waiting(name: &'static str, description: &'static str, waiting: &Arc<AtomicI64>) {
    let waiting = Arc::downgrade(waiting);
    global::meter("product-core")
        .i64_observable_gauge(name)
        .with_unit("{item}")
        .with_description(description)
        .with_callback(move |gauge| {
            if let Some(waiting) = waiting.upgrade() {
                gauge.observe(waiting.load(Relaxed), &[]);
            }
        })
        .build();
}
