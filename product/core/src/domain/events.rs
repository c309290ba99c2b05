//! What the rest of the product is told. No address, no secret: events travel far and rest long.

use jiff::Timestamp;
use product_bus::{Event, Topic};
use serde_json::json;
use uuid::Uuid;

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

pub(crate) fn user_registered(user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    user("user.registered", user_id, display_name, at)
}

pub(crate) fn user_logged_in(user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    user("user.logged_in", user_id, display_name, at)
}

pub(crate) fn profile_updated(user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    user("profile.updated", user_id, display_name, at)
}

/// The event of the status that `payment` has reached; `None` on the way there.
pub(crate) fn payment(payment: &Payment) -> Option<Event> {
    let kind = match payment.status {
        Status::Captured => "payment.captured",
        Status::Declined => "payment.declined",
        Status::Refunded => "payment.refunded",
        Status::Pending | Status::Refunding => return None,
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
    Some(Event::new(kind, payment.id.to_string(), data))
}

fn user(kind: &str, user_id: Uuid, display_name: &str, at: Timestamp) -> Event {
    let data = json!({ "user_id": user_id, "display_name": display_name, "at": at.to_string() });
    Event::new(kind, user_id.to_string(), data)
}
