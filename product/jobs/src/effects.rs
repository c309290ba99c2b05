//! What was done for which event.
//!
//! A receipt on disk and a webhook at its receiver cannot be part of a database transaction, so each effect
//! is noted here as soon as it happened, in a row of its own. When a later effect of the same event fails and
//! the event comes again, the noted ones are left alone.

use futures::StreamExt;
use product_bus::Event;
use product_bus::database::{Database, traced};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::payment::Payment;

/// Lines on their way to a reader; a slow one pauses the query instead of filling memory.
const LINES_UNREAD_MAX: usize = 256;

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

/// Whether `effect` has already happened for the event.
pub(crate) async fn happened(database: &Database, event: Uuid, effect: Effect) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar::<_, i64>("SELECT times FROM effects WHERE event_id = $1 AND effect = $2")
        .bind(event.to_string())
        .bind(effect.name())
        .fetch_optional(database.readers());
    Ok(traced(database.dialect().span("SELECT", "effects"), query).await?.is_some())
}

/// Notes that `effect` has just happened. A second time for one event is counted, not hidden.
pub(crate) async fn note(database: &Database, event: &Event, payment: &Payment, effect: Effect) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO effects (event_id, effect, event_type, payment_id, times) VALUES ($1, $2, $3, $4, 1)
         ON CONFLICT (event_id, effect) DO UPDATE SET times = effects.times + 1",
    )
    .bind(event.id.to_string())
    .bind(effect.name())
    .bind(&event.kind)
    .bind(payment.payment_id.to_string())
    .execute(database.writer());
    traced(database.dialect().span("INSERT", "effects"), query).await.map(drop)
}

/// One JSON line for each effect of each payment's events, with how often it happened.
pub(crate) fn lines(database: Database) -> mpsc::Receiver<sqlx::Result<String>> {
    let (send, receive) = mpsc::channel(LINES_UNREAD_MAX);
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String, String, i64)>(
            "SELECT effect, event_type, payment_id, CAST(SUM(times) AS BIGINT) FROM effects GROUP BY 1, 2, 3",
        )
        .fetch(database.readers());
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
