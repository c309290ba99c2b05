//! An analytics service on a data folder of its own, and the events it is given.

use product_analytics::{Activity, Args, Revenue, Server};
use product_bus::consumer::{Handler, HandlerError};
use product_bus::testing::TestDatabase;
use product_bus::{Event, KafkaArgs};
use serde_json::json;
use uuid::Uuid;

pub(crate) const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
/// 2026-11-22T12:00:00Z
pub(crate) const NOON_NS: i64 = 1_795_348_800_000_000_000;

pub(crate) fn args(place: &TestDatabase, kafka: KafkaArgs) -> Args {
    Args {
        analytics_listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: place.folder().to_owned(),
        analytics_database_url: place.url(),
        kafka,
    }
}

/// A service whose broker is never up: events are handed to its handler directly.
pub(crate) async fn without_broker(place: &TestDatabase) -> Server {
    Server::bind(args(place, KafkaArgs { bootstrap_servers: "127.0.0.1:1".to_owned() })).await.unwrap()
}

/// One event in a transaction of its own, as the consumer does it.
pub(crate) async fn handle(server: &Server, event: &Event) -> Result<(), HandlerError> {
    let mut transaction = server.database().begin().await.unwrap();
    let done = server.handler().apply(&mut transaction, event).await;
    transaction.commit().await.unwrap();
    done
}

pub(crate) fn payment(kind: &str, payment: u128, user: u128, amount_minor: i64, currency: &str) -> Event {
    let payment = Uuid::from_u128(payment);
    let data = json!({
        "payment_id": payment, "user_id": Uuid::from_u128(user), "amount_minor": amount_minor,
        "currency": currency, "description": "", "created_at": "2026-11-22T12:00:00Z", "status": "",
    });
    event(kind, payment, data)
}

pub(crate) fn user(kind: &str, user: u128) -> Event {
    let user = Uuid::from_u128(user);
    event(kind, user, json!({"user_id": user, "display_name": "Ada", "at": "2026-11-22T12:00:00Z"}))
}

fn event(kind: &str, key: Uuid, data: serde_json::Value) -> Event {
    Event {
        id: Uuid::new_v4(),
        kind: kind.to_owned(),
        version: 1,
        key: key.to_string(),
        time_ns: NOON_NS,
        data,
        extensions: Default::default(),
        sequence: None,
        traceparent: None,
        tracestate: None,
    }
}

/// One line for each day and currency.
pub(crate) async fn revenue(base: &str) -> String {
    let rows: Vec<Revenue> = reqwest::get(format!("{base}/v1/revenue")).await.unwrap().json().await.unwrap();
    let line = |row: &Revenue| {
        let Revenue { day, currency, captured_minor, refunded_minor, payments } = row;
        format!("{day} {currency} captured {captured_minor} refunded {refunded_minor} payments {payments}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One line for each day.
pub(crate) async fn activity(base: &str) -> String {
    let rows: Vec<Activity> = reqwest::get(format!("{base}/v1/activity")).await.unwrap().json().await.unwrap();
    let line = |row: &Activity| {
        let Activity { day, registrations, logins, profile_updates, declines, active_users } = row;
        format!(
            "{day} registrations {registrations} logins {logins} profiles {profile_updates} declines {declines} \
             active {active_users}"
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The lines of `/internal/effects`, sorted.
pub(crate) async fn effects(base: &str) -> Vec<String> {
    let text = reqwest::get(format!("{base}/internal/effects")).await.unwrap().text().await.unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
