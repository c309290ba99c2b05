//! What arrived, without what it said.

use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::answers;
use crate::database::{Database, told};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS webhooks (
        idempotency_key TEXT PRIMARY KEY,
        event_type      TEXT NOT NULL,
        payment_id      TEXT NOT NULL,
        deliveries      INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS mails (
        message_id TEXT PRIMARY KEY,
        event_id   TEXT NOT NULL,
        event_type TEXT NOT NULL,
        payment_id TEXT,                       -- null: about no payment
        deliveries INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT";

#[derive(Clone, Debug)]
pub(super) struct Kept {
    database: Database,
}

/// What of a mail is kept; what it says is its reader's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) message_id: String,
    pub(super) event_id: Uuid,
    pub(super) event_type: String,
    /// None when it is about no payment: a welcome, an address to confirm.
    pub(super) payment_id: Option<Uuid>,
}

impl Kept {
    pub(super) fn new(database: Database) -> Kept {
        Kept { database }
    }

    /// Returns how often this webhook has been delivered by now.
    pub(super) async fn webhook(&self, key: &str, event_type: &str, payment_id: Uuid) -> sqlx::Result<i64> {
        let statement = sqlx::query_scalar(
            "INSERT INTO webhooks (idempotency_key, event_type, payment_id, deliveries) VALUES (?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET deliveries = deliveries + 1
             RETURNING deliveries",
        )
        .bind(key)
        .bind(event_type)
        .bind(payment_id.to_string())
        .fetch_one(&self.database.writer);
        told("INSERT", "webhooks", statement).await
    }

    /// Returns how often this mail has been delivered by now.
    pub(super) async fn mail(&self, mail: &Mail) -> sqlx::Result<i64> {
        let statement = sqlx::query_scalar(
            "INSERT INTO mails (message_id, event_id, event_type, payment_id, deliveries) VALUES (?, ?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET deliveries = deliveries + 1
             RETURNING deliveries",
        )
        .bind(&mail.message_id)
        .bind(mail.event_id.to_string())
        .bind(&mail.event_type)
        .bind(mail.payment_id.map(|id| id.to_string()))
        .fetch_one(&self.database.writer);
        told("INSERT", "mails", statement).await
    }

    /// One JSON line for each kind of effect of each event type of each payment. A mail about no payment has a line of its
    /// own, with the event's id.
    pub(super) fn lines(&self) -> mpsc::Receiver<sqlx::Result<String>> {
        let (send, receive) = mpsc::channel(answers::LINES_UNREAD_MAX);
        let readers = self.database.readers.clone();
        tokio::spawn(async move {
            let mut rows = sqlx::query_as::<_, (String, String, Option<String>, Option<String>, i64, i64)>(
                "SELECT 'webhook', event_type, payment_id, NULL, COUNT(*), SUM(deliveries)
                 FROM webhooks GROUP BY event_type, payment_id
                 UNION ALL
                 SELECT 'mail', event_type, payment_id, NULL, COUNT(*), SUM(deliveries)
                 FROM mails WHERE payment_id IS NOT NULL GROUP BY event_type, payment_id
                 UNION ALL
                 SELECT 'mail', event_type, NULL, event_id, COUNT(*), SUM(deliveries)
                 FROM mails WHERE payment_id IS NULL GROUP BY event_type, event_id",
            )
            .fetch(&readers);
            while let Some(row) = rows.next().await {
                let line = row.map(|(effect, event_type, payment_id, event_id, count, deliveries)| {
                    let mut line = json!({
                        "effect": effect, "event_type": event_type, "count": count, "deliveries": deliveries,
                    });
                    let (name, id) =
                        if event_id.is_some() { ("event_id", event_id) } else { ("payment_id", payment_id) };
                    line[name] = json!(id);
                    format!("{line}\n")
                });
                if send.send(line).await.is_err() {
                    break; // the reader has gone
                }
            }
        });
        receive
    }
}
