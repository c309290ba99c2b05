//! The events that set off work, read once and checked.

use anyhow::Context;
use product_bus::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The newest shape of `data` understood here.
const VERSION_MAX: u32 = 1;

/// The kinds of events that can set off work.
pub(crate) const TRIGGERS: [&str; 4] =
    ["payment.captured", "payment.refunded", "user.registered", "account.export_requested"];

/// A closed set: other events set off nothing here.
pub(crate) enum Trigger {
    Payment(Occasion, Payment),
    Verification(Verification),
    Export(Export),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payment {
    pub(crate) payment_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) description: String,
    pub(crate) created_at: jiff::Timestamp,
}

/// What a receipt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    Captured,
    Refunded,
}

/// A new account whose address is to be verified. Not `Debug`: the token is for the account's owner alone.
pub(crate) struct Verification {
    pub(crate) user_id: Uuid,
    pub(crate) display_name: String,
    pub(crate) token: String,
}

/// What core knows of an account, gathered by core: jobs has no way to ask.
#[derive(Deserialize)]
pub(crate) struct Export {
    pub(crate) export_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) account: serde_json::Value,
}

#[derive(Deserialize)]
struct Registered {
    user_id: Uuid,
    display_name: String,
    verification_token: Option<String>,
}

impl Trigger {
    /// `None` when the event sets off nothing. An error stays an error however often it is tried.
    pub(crate) fn read(event: &Event) -> anyhow::Result<Option<Trigger>> {
        Ok(match event.kind.as_str() {
            "payment.captured" => Some(Trigger::Payment(Occasion::Captured, data(event)?)),
            "payment.refunded" => Some(Trigger::Payment(Occasion::Refunded, data(event)?)),
            "user.registered" => {
                let Registered { user_id, display_name, verification_token } = data(event)?;
                verification_token.map(|token| Trigger::Verification(Verification { user_id, display_name, token }))
            }
            "account.export_requested" => Some(Trigger::Export(data(event)?)),
            _ => None,
        })
    }

    /// The payment it is about, if any.
    pub(crate) fn payment_id(&self) -> Option<Uuid> {
        match self {
            Trigger::Payment(_, payment) => Some(payment.payment_id),
            Trigger::Verification(_) | Trigger::Export(_) => None,
        }
    }
}

impl Occasion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Occasion::Captured => "captured",
            Occasion::Refunded => "refunded",
        }
    }
}

fn data<T: DeserializeOwned>(event: &Event) -> anyhow::Result<T> {
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
    use super::*;

    #[test]
    fn what_is_said_to_set_off_work_is_read_and_nothing_else() {
        let read = |kind: &str| Trigger::read(&Event::new(kind, "k", serde_json::Value::Null));
        assert!(TRIGGERS.iter().all(|kind| read(kind).is_err()), "null is the data of none of them");
        assert!(["payment.declined", "user.logged_in"].iter().all(|kind| matches!(read(kind), Ok(None))));
    }
}
