//! An analytics service on a database of its own, and the events it is given.

use product_analytics::reports::{self, Query, Report};
use product_analytics::{Analytics, Args, Server};
use product_bus::consumer::{Handler, HandlerError};
use product_bus::database::Database;
use product_bus::{Event, KafkaArgs};
use product_testing::TestDatabase;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
/// 2026-11-22T12:00:00Z
pub(crate) const NOON_NS: i64 = 1_795_348_800_000_000_000;

pub(crate) struct Stack {
    pub(crate) database: TestDatabase,
}

impl Stack {
    pub(crate) async fn new() -> Stack {
        Stack { database: TestDatabase::create().await }
    }

    pub(crate) fn args(&self, kafka: KafkaArgs) -> Args {
        Args {
            analytics_listen: "127.0.0.1:0".parse().unwrap(),
            analytics_database_url: self.database.url(),
            data_dir: self.database.folder().to_owned(),
            operator_token: None,
            kafka,
        }
    }

    /// A service whose broker is never up: events are handed to its handler directly.
    pub(crate) async fn without_broker(&self) -> Server {
        Server::bind(self.args(KafkaArgs::at("127.0.0.1:1"))).await.unwrap()
    }
}

/// One event in a transaction of its own, as the consumer does it.
pub(crate) async fn handle(database: &Database, handler: &Analytics, event: &Event) -> Result<(), HandlerError> {
    let mut transaction = database.begin().await.unwrap();
    handler.apply(&mut transaction, event).await?;
    database.commit(transaction).await.unwrap();
    Ok(())
}

/// The answers to all questions, a line for each row.
pub(crate) async fn told(database: &Database, query: &Query, through: Option<i64>) -> String {
    let mut connection = database.read().await.unwrap();
    let mut told = String::new();
    for report in Report::ALL {
        told += &format!("{report}\n");
        for row in reports::rows(&mut connection, report, query, through).await.unwrap() {
            told += &format!("  {}\n", line(&row));
        }
    }
    told
}

/// "day 2026-11-22, payments 2"
fn line(row: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = row.as_object().unwrap().iter().map(|(name, value)| format!("{name} {}", text(value)));
    fields.collect::<Vec<_>>().join(", ")
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

fn event(kind: &str, key: Uuid, data: Value) -> Event {
    Event { time_ns: NOON_NS, ..Event::new(kind, key.to_string(), data) }
}

pub(crate) fn later(mut event: Event, days: i64) -> Event {
    event.time_ns += days * DAY_NS;
    event
}

/// A day and a half of business, in the order in which it happened.
pub(crate) fn story() -> Vec<Event> {
    let events = vec![
        user("user.registered", 100),
        user("user.registered", 101),
        user("user.logged_in", 100),
        user("user.logged_in", 101),
        user("user.logged_in", 102), // registered before our time
        user("profile.updated", 100),
        payment("payment.captured", 1, 100, 1_250, "EUR"),
        payment("payment.captured", 2, 101, 750, "EUR"),
        payment("payment.captured", 3, 102, 9_900, "JPY"),
        payment("payment.declined", 4, 103, 5_000, "EUR"),
        payment("payment.refunded", 2, 101, 750, "EUR"),
        later(payment("payment.captured", 5, 100, 300, "EUR"), 1),
        later(payment("payment.refunded", 1, 100, 1_250, "EUR"), 1),
        later(user("user.registered", 104), 1),
    ];
    let numbered = events.into_iter().zip(1..);
    numbered.map(|(event, sequence)| Event { sequence: Some(sequence), ..event }).collect()
}
