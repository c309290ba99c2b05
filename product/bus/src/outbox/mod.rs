//! The transactional outbox: an event is a row beside the business row, committed with it or not at all.
//!
//! Rows stay after they were published, with cluster, partition and offset they got: a broker that forgot them gets
//! them again.

mod relay;
mod rows;

use sqlx::AnyConnection;

pub use relay::{Relay, Waker};
pub use rows::{migrate, migrations, pending, wanted};
pub(crate) use {
    relay::message_headers,
    rows::{Row, published},
};

use crate::{Event, event::now_ns, steps::Step};

/// Adds `event` in the caller's transaction, with the trace context of the current span unless the event has one.
/// After the commit call [`Waker::committed`]; without it the relay's clock finds the row.
///
/// Events of one key keep their order when whoever writes one holds a lock that the others of the key need as well, such
/// as that on the aggregate's row.
pub async fn enqueue(connection: &mut AnyConnection, topic: &str, event: &Event) -> sqlx::Result<()> {
    let mut context: Vec<(String, String)> =
        event.trace_headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if context.is_empty() {
        context = observe::context::headers();
    }
    let header = |name| context.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let extensions = serde_json::to_string(&event.extensions).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO outbox (event_id, topic, key, kind, version, time_ns, data, extensions, wanted, traceparent,
             tracestate, created_ns)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(event.id.as_bytes().as_slice())
    .bind(topic)
    .bind(&event.key)
    .bind(&event.kind)
    .bind(i64::from(event.version))
    .bind(event.time_ns)
    .bind(event.data.to_string())
    .bind(extensions)
    .bind(i16::from(event.is_wanted()))
    .bind(header("traceparent"))
    .bind(header("tracestate"))
    .bind(now_ns())
    .execute(connection)
    .await?;
    Step::Enqueued.reached();
    Ok(())
}
