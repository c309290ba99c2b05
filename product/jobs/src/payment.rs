//! The payment as events tell it.

use anyhow::Context;
use product_bus::Event;
use serde::Deserialize;
use uuid::Uuid;

pub(crate) const CAPTURED: &str = "payment.captured";
pub(crate) const REFUNDED: &str = "payment.refunded";
/// The newest shape of `data` understood here.
const VERSION_MAX: u32 = 1;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payment {
    pub(crate) payment_id: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) description: String,
    pub(crate) created_at: jiff::Timestamp,
}

/// What a receipt is for. A closed set: other events of the topic set off no work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    Captured,
    Refunded,
}

impl Occasion {
    pub(crate) fn of(event: &Event) -> Option<Occasion> {
        match event.kind.as_str() {
            CAPTURED => Some(Occasion::Captured),
            REFUNDED => Some(Occasion::Refunded),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Occasion::Captured => "captured",
            Occasion::Refunded => "refunded",
        }
    }
}

impl Payment {
    /// Reads the event's data. An error here stays an error however often it is tried.
    pub(crate) fn read(event: &Event) -> anyhow::Result<Payment> {
        anyhow::ensure!(
            event.version <= VERSION_MAX,
            "{} has version {}, version {VERSION_MAX} is the newest understood",
            event.kind,
            event.version,
        );
        Payment::deserialize(&event.data).with_context(|| format!("the data of {} is not a payment", event.kind))
    }
}
