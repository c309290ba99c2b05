//! The evidence that each event of each payment was applied once.

use futures::StreamExt;
use product_bus::database::Database;
use tokio::sync::mpsc;

/// Lines on their way to a reader; a slow one pauses the query instead of filling memory.
const LINES_UNREAD_MAX: usize = 256;

/// One JSON line for each event type of each payment, with how often it was applied.
pub(crate) fn lines(database: Database) -> mpsc::Receiver<sqlx::Result<String>> {
    let (send, receive) = mpsc::channel(LINES_UNREAD_MAX);
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String, i64)>(
            "SELECT event_type, payment_id, times FROM applied ORDER BY payment_id, event_type",
        )
        .fetch(database.readers());
        while let Some(row) = rows.next().await {
            let line = row.map(|(event_type, payment_id, count)| {
                let line = serde_json::json!({
                    "effect": "projection", "event_type": event_type, "payment_id": payment_id, "count": count,
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
