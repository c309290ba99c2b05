//! The events that analytics counts, read once and checked.

use anyhow::Context;
use jiff::Timestamp;
use product_bus::Event;
use serde::Deserialize;
use uuid::Uuid;

/// The newest shape of `data` understood here.
const VERSION_MAX: u32 = 1;
const NS_OF_MS: i64 = 1_000_000;

/// The kinds of events that become facts.
pub const COUNTED: [&str; 6] = [
    "user.registered",
    "user.logged_in",
    "profile.updated",
    "payment.captured",
    "payment.declined",
    "payment.refunded",
];

/// Something countable that happened.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) event_id: Uuid,
    /// Place among all events of their publisher; 0 when it tells none, which is before any watermark.
    pub(crate) sequence: i64,
    /// When, by the clock of who said so, milliseconds since 1970.
    pub(crate) at_ms: i64,
    pub(crate) user_id: Uuid,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// registered, logged_in, profile_updated
    User(&'static str),
    Payment(Moment, Payment),
}

/// Which moment of a payment an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Captured,
    Declined,
    Refunded,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payment {
    pub(crate) payment_id: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Deserialize)]
struct Whose {
    user_id: Uuid,
}

impl Fact {
    /// `None` for events that are not counted. An error stays an error however often it is tried.
    pub(crate) fn read(event: &Event) -> anyhow::Result<Option<Fact>> {
        let what = match event.kind.as_str() {
            "user.registered" => What::User("registered"),
            "user.logged_in" => What::User("logged_in"),
            "profile.updated" => What::User("profile_updated"),
            "payment.captured" => What::Payment(Moment::Captured, data(event)?),
            "payment.declined" => What::Payment(Moment::Declined, data(event)?),
            "payment.refunded" => What::Payment(Moment::Refunded, data(event)?),
            _ => return Ok(None),
        };
        let Whose { user_id } = data(event)?;
        let (sequence, at_ms) = (event.sequence.unwrap_or(0), event.time_ns.div_euclid(NS_OF_MS));
        Ok(Some(Fact { event_id: event.id, sequence, at_ms, user_id, what }))
    }

    /// The payment it is about, if any.
    pub(crate) fn payment(&self) -> Option<Uuid> {
        match &self.what {
            What::Payment(_, payment) => Some(payment.payment_id),
            What::User(_) => None,
        }
    }
}

fn data<'de, T: Deserialize<'de>>(event: &'de Event) -> anyhow::Result<T> {
    anyhow::ensure!(
        event.version <= VERSION_MAX,
        "{} has version {}, version {VERSION_MAX} is the newest understood",
        event.kind,
        event.version,
    );
    T::deserialize(&event.data).with_context(|| format!("the data of {} is not as expected", event.kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_to_be_counted_is_counted_and_nothing_else() {
        let data = json!({"user_id": Uuid::nil(), "payment_id": Uuid::nil(), "amount_minor": 1, "currency": "EUR",
            "created_at": "2026-11-22T12:00:00Z"});
        let read = |kind: &str| Fact::read(&Event::new(kind, "k", data.clone())).expect("it is well formed").is_some();
        assert!(COUNTED.iter().all(|kind| read(kind)));
        assert!(!read("payment.authorized") && !read("account.export_requested"));
    }
}
