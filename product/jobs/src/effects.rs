//! What was done for which event.
//!
//! A receipt on disk and a webhook at its receiver cannot be part of a database transaction, so each effect
//! is noted here as soon as it happened, in a row of its own. When a later effect of the same event fails and
//! the event comes again, the noted ones are left alone.

use futures::StreamExt;
use observe::db;
use product_bus::Event;
use sqlx::SqlitePool;
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use crate::payment::Payment;

/// Lines on their way to a reader; a slow one pauses the query instead of filling memory.
const LINES_UNREAD_MAX: usize = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS effects (
        event_id   TEXT NOT NULL,
        effect     TEXT NOT NULL,
        event_type TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        times      INTEGER NOT NULL,
        PRIMARY KEY (event_id, effect)
    ) WITHOUT ROWID, STRICT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Receipt,
    Webhook,
}

impl Effect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Effect::Receipt => "receipt",
            Effect::Webhook => "webhook",
        }
    }
}

pub(crate) async fn migrate(pool: &SqlitePool) -> sqlx::Result<()> {
    sqlx::query(SCHEMA).execute(pool).await.map(drop)
}

/// Whether `effect` has already happened for the event.
pub(crate) async fn happened(pool: &SqlitePool, event: Uuid, effect: Effect) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM effects WHERE event_id = ? AND effect = ?)")
        .bind(event.to_string())
        .bind(effect.name())
        .fetch_one(pool)
        .instrument(db::span(db::SQLITE, "SELECT", "effects"))
        .await
}

/// Notes that `effect` has just happened. A second time for one event is counted, not hidden.
pub(crate) async fn note(pool: &SqlitePool, event: &Event, payment: &Payment, effect: Effect) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO effects (event_id, effect, event_type, payment_id, times) VALUES (?, ?, ?, ?, 1)
         ON CONFLICT DO UPDATE SET times = times + 1",
    )
    .bind(event.id.to_string())
    .bind(effect.name())
    .bind(&event.kind)
    .bind(payment.payment_id.to_string())
    .execute(pool)
    .instrument(db::span(db::SQLITE, "INSERT", "effects"))
    .await
    .map(drop)
}

/// One JSON line for each effect of each payment's events, with how often it happened.
pub(crate) fn lines(pool: SqlitePool) -> mpsc::Receiver<sqlx::Result<String>> {
    let (send, receive) = mpsc::channel(LINES_UNREAD_MAX);
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String, String, i64)>(
            "SELECT effect, event_type, payment_id, SUM(times) FROM effects GROUP BY 1, 2, 3",
        )
        .fetch(&pool);
        while let Some(row) = rows.next().await {
            let line = row.map(|(effect, event_type, payment_id, count)| {
                let line = serde_json::json!({
                    "effect": effect, "event_type": event_type, "payment_id": payment_id, "count": count,
                });
                format!("{line}\n")
            });
            if send.send(line).await.is_err() {
                break; // the reader has gone
            }
        }
    });
    receive
}
