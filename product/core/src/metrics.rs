//! What core measures about its business; requests and database calls are measured by `observe`.

use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};

use crate::domain::payments::Payment;

pub(crate) struct Metrics {
    payments_created: Counter<u64>,
    payments_amount: Histogram<u64>,
    payments_refunded: Counter<u64>,
    registrations: Counter<u64>,
    logins: Counter<u64>,
    pub(crate) password_pool_waiting: UpDownCounter<i64>,
    pub(crate) password_pool_refused: Counter<u64>,
    meter: Meter,
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
            password_pool_waiting: meter
                .i64_up_down_counter("password_pool.waiting")
                .with_unit("{request}")
                .with_description("Requests that wait for a password worker.")
                .build(),
            password_pool_refused: meter
                .u64_counter("password_pool.refused")
                .with_unit("{request}")
                .with_description("Requests turned away because too many waited, or one waited too long.")
                .build(),
            meter,
        }
    }

    /// The capacities of the password pool, beside its queue.
    pub(crate) fn publish_password_limits(&self, workers: usize, waiting_max: usize) {
        let limits = [
            ("password_pool.workers.limit", "{worker}", workers, "Passwords hashed at the same time."),
            ("password_pool.waiting.limit", "{request}", waiting_max, "Places to wait for a password worker."),
        ];
        for (name, unit, limit, description) in limits {
            self.meter
                .u64_observable_gauge(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(move |gauge| gauge.observe(limit as u64, &[]))
                .build();
        }
    }

    pub(crate) fn payment_decided(&self, payment: &Payment) {
        let currency = KeyValue::new("currency", payment.money.currency());
        let status = KeyValue::new("status", payment.status.as_str());
        self.payments_created.add(1, &[status, currency.clone()]);
        if payment.status == crate::domain::payments::Status::Captured {
            self.payments_amount.record(payment.money.amount_minor().unsigned_abs(), &[currency]);
        }
    }

    pub(crate) fn payment_refunded(&self, payment: &Payment) {
        self.payments_refunded.add(1, &[KeyValue::new("currency", payment.money.currency())]);
    }

    pub(crate) fn registration(&self, outcome: &'static str) {
        self.registrations.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}
