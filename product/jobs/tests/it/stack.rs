//! A jobs service on a folder and a database of its own, beside receivers that can be told to fail.

use std::path::{Path, PathBuf};

use product_bus::consumer::{Handler, HandlerError};
use product_bus::database::Database;
use product_bus::{Event, KafkaArgs};
use product_jobs::{Args, Jobs, Receivers, Server};
use product_testing::TestDatabase;
use serde_json::json;
use uuid::Uuid;

use crate::receivers::{Merchant, Postman};

pub(crate) const PAYMENT: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0001);
pub(crate) const USER: Uuid = Uuid::from_u128(2);
pub(crate) const SECRET: &str = "a secret of the test";
/// 2025-11-22T12:00:00Z
pub(crate) const NOON_NS: i64 = 1_763_812_800_000_000_000;

pub(crate) struct Stack {
    pub(crate) database: TestDatabase,
    pub(crate) merchant: Merchant,
    pub(crate) postman: Postman,
}

impl Stack {
    pub(crate) async fn new() -> Stack {
        Stack::refusing(0, 0).await
    }

    /// The first so many letters and webhooks are refused.
    pub(crate) async fn refusing(mails: u32, webhooks: u32) -> Stack {
        Stack {
            database: TestDatabase::create().await,
            merchant: Merchant::start(webhooks).await,
            postman: Postman::start(mails).await,
        }
    }

    pub(crate) fn args(&self, kafka: KafkaArgs) -> Args {
        Args {
            jobs_listen: "127.0.0.1:0".parse().unwrap(),
            jobs_database_url: self.database.url(),
            receivers: Receivers {
                smtp_address: self.postman.address.clone(),
                webhook_url: self.merchant.url.clone(),
                webhook_timeout_ms: 2_000,
                webhook_secret: SECRET.to_owned(),
            },
            data_dir: self.database.folder().to_owned(),
            operator_token: None,
            kafka,
        }
    }

    /// A service whose broker is never up: events are handed to its handler directly.
    pub(crate) async fn without_broker(&self) -> Server {
        let kafka = KafkaArgs::at("127.0.0.1:1");
        Server::bind(self.args(kafka)).await.unwrap()
    }

    pub(crate) async fn jobs(&self) -> Jobs {
        self.without_broker().await.handler()
    }

    /// Names of the files in a folder below `product/`, sorted; a leftover of any kind would show.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.database.folder().join("product").join(name)
    }
}

/// One event as the consumer deals with it: what is outside the database, then the transaction.
pub(crate) async fn handle(jobs: &Jobs, event: &Event) -> Result<(), HandlerError> {
    jobs.before(event).await?;
    let mut transaction = jobs.database().begin().await.unwrap();
    jobs.apply(&mut transaction, event).await?;
    jobs.database().commit(transaction).await.unwrap();
    Ok(())
}

/// What is noted as done: effect, event type and how often, a line each, sorted.
pub(crate) async fn done(database: &Database) -> String {
    let mut lines = product_jobs::effects::lines(database);
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        told.push(line.unwrap().trim_end().to_owned());
    }
    told.sort();
    told.join("\n")
}

pub(crate) fn payment(id: u128, kind: &str, description: &str) -> Event {
    let data = json!({
        "payment_id": PAYMENT, "user_id": USER, "amount_minor": 1250, "currency": "EUR", "description": description,
        "created_at": "2025-11-22T12:00:00Z", "status": "captured",
    });
    event(id, kind, PAYMENT, data)
}

pub(crate) fn event(id: u128, kind: &str, key: Uuid, data: serde_json::Value) -> Event {
    Event { id: Uuid::from_u128(id), time_ns: NOON_NS, ..Event::new(kind, key.to_string(), data) }
}

/// The event, dealt with by whom `route` says.
pub(crate) fn routed(mut event: Event, route: &str) -> Event {
    event.extensions.insert("jobs".to_owned(), route.to_owned());
    event
}
