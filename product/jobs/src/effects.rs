//! What was done for which event.
//!
//! A receipt on disk, a letter at a mail server and a webhook at its receiver cannot be part of a database transaction,
//! so each effect is noted here as soon as it happened, in a row of its own. When a later effect of the same event fails
//! and the event comes again, the noted ones are left alone. A crash between an effect and its note repeats it, with the
//! key that it had before: only there is a receiver needed that knows its keys.

use std::collections::HashSet;

use futures::StreamExt;
use product_bus::Event;
use product_bus::database::{Database, span, traced};
use sqlx::AnyConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::work::Effect;

/// Lines on their way to a reader; a slow one pauses the query instead of filling memory.
const LINES_UNREAD_MAX: usize = 256;

/// Names of the effects that have already happened for the event.
pub(crate) async fn done(database: &Database, event: Uuid) -> sqlx::Result<HashSet<String>> {
    let mut connection = database.read().await?;
    let query = sqlx::query_scalar("SELECT effect FROM effects WHERE event_id = $1").bind(event.to_string());
    let span = span(&connection, "SELECT", "effects");
    let names: Vec<String> = traced(span, query.fetch_all(&mut *connection)).await?;
    Ok(names.into_iter().collect())
}

/// Notes that `effect` has just happened. A second time for one event is counted, not hidden.
pub(crate) async fn note(
    connection: &mut AnyConnection,
    event: &Event,
    payment: Option<Uuid>,
    effect: Effect,
) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO effects (event_id, effect, event_type, payment_id, times) VALUES ($1, $2, $3, $4, 1)
         ON CONFLICT (event_id, effect) DO UPDATE SET times = effects.times + 1",
    )
    .bind(event.id.to_string())
    .bind(effect.name())
    .bind(&event.kind)
    .bind(payment.map_or_else(String::new, |id| id.to_string()));
    let span = span(connection, "INSERT", "effects");
    traced(span, query.execute(connection)).await.map(drop)
}

/// One JSON line for each effect of each payment's events, with how often it happened; `payment_id` is null where it is
/// about no payment.
pub fn lines(database: &Database) -> mpsc::Receiver<sqlx::Result<String>> {
    let (send, receive) = mpsc::channel(LINES_UNREAD_MAX);
    let pool = database.readers().clone();
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String, Option<String>, i64)>(
            "SELECT effect, event_type, NULLIF(payment_id, ''), CAST(SUM(times) AS BIGINT) FROM effects GROUP BY effect, event_type, payment_id",
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
