//! What the rest of the product is told. No address: events travel far and rest long. One secret, the token that proves an
//! address, since whoever mails it must know it; it works once and runs out.

use jiff::Timestamp;
use product_bus::{Event, Topic};
use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts::Token;
use super::payments::{Payment, Status};

/// Events about accounts and profiles, by user id.
pub(crate) const USERS: &str = "users";
/// Events about payments, by payment id.
pub(crate) const PAYMENTS: &str = "payments";
/// More than the consumers we run, so that their number can grow without moving keys.
const PARTITIONS: i32 = 4;

pub(crate) fn topics() -> Vec<Topic> {
    [USERS, PAYMENTS].map(|name| Topic { name: name.to_owned(), partitions: PARTITIONS }).into()
}

pub(crate) fn user_registered(user_id: Uuid, display_name: &str, verification: &Token, at: Timestamp) -> Event {
    let mut event = user("user.registered", user_id, display_name, at);
    event.data["verification_token"] = json!(verification.reveal());
    event
}

pub(crate) fn user_logged_in(user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    user("user.logged_in", user_id, display_name, at)
}

pub(crate) fn profile_updated(user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    user("profile.updated", user_id, display_name, at)
}

/// `account` is the copy that was asked for.
pub(crate) fn export_requested(user_id: Uuid, export_id: Uuid, account: Value, at: Timestamp) -> Event {
    let data = json!({ "export_id": export_id, "user_id": user_id, "account": account, "at": at.to_string() });
    event("account.export_requested", user_id, data, at)
}

/// The event of the status that `payment` has reached `at` some time; `None` on the way there.
pub(crate) fn payment(payment: &Payment, at: Timestamp) -> Option<Event> {
    let kind = match payment.status {
        Status::Captured => "payment.captured",
        Status::Declined => "payment.declined",
        Status::Refunded => "payment.refunded",
        Status::Pending | Status::Authorized | Status::Capturing | Status::Refunding => return None,
    };
    let data = json!({
        "payment_id": payment.id,
        "user_id": payment.user_id,
        "amount_minor": payment.money.amount_minor(),
        "currency": payment.money.currency(),
        "description": payment.description,
        "created_at": payment.created_at.to_string(),
        "status": payment.status,
    });
    Some(event(kind, payment.id, data, at))
}

fn user(kind: &str, user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    let data = json!({ "user_id": user_id, "display_name": display_name, "at": at.to_string() });
    event(kind, user_id, data, at)
}

/// Its time is that of the row it tells of, to the millisecond: what is counted by either is counted alike.
fn event(kind: &str, key: Uuid, data: Value, at: Timestamp) -> Event {
    let time_ns = at.as_millisecond().saturating_mul(1_000_000);
    Event { time_ns, ..Event::new(kind, key.to_string(), data) }
}
