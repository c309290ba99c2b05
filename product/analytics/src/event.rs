//! The events that analytics counts, read once and checked.

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use product_bus::Event;
use serde::Deserialize;
use uuid::Uuid;

/// The newest shape of `data` understood here.
const VERSION_MAX: u32 = 1;

/// Something countable that happened on a day.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// When, by the clock of who said so; the day is that of UTC.
    pub(crate) at: Timestamp,
    pub(crate) user_id: Uuid,
    pub(crate) what: What,
}

/// A closed set: other events are none of our business.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Registered,
    LoggedIn,
    ProfileUpdated,
    Captured(Payment),
    Declined(Payment),
    Refunded(Payment),
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
            "user.registered" => What::Registered,
            "user.logged_in" => What::LoggedIn,
            "profile.updated" => What::ProfileUpdated,
            "payment.captured" => What::Captured(data(event)?),
            "payment.declined" => What::Declined(data(event)?),
            "payment.refunded" => What::Refunded(data(event)?),
            _ => return Ok(None),
        };
        let at = Timestamp::from_nanosecond(event.time_ns.into()).context("the time of the event is out of range")?;
        let Whose { user_id } = data(event)?;
        Ok(Some(Fact { at, user_id, what }))
    }

    /// The payment it is about, if any.
    pub(crate) fn payment(&self) -> Option<Uuid> {
        match &self.what {
            What::Captured(payment) | What::Declined(payment) | What::Refunded(payment) => Some(payment.payment_id),
            What::Registered | What::LoggedIn | What::ProfileUpdated => None,
        }
    }

    /// "2026-11-22"
    pub(crate) fn day(&self) -> String {
        self.at.to_zoned(TimeZone::UTC).date().to_string()
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
