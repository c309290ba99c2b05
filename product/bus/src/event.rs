//! What travels: CloudEvents attributes in the headers, the data as JSON in the body.

use serde_json::Value;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Identity of the event (UUIDv7): a consumer acts once on each.
    pub id: Uuid,
    /// "payment.captured"
    pub kind: String,
    /// Version of the shape of `data`.
    pub version: u32,
    /// Aggregate the event is about; events of one key keep their order.
    pub key: String,
    /// When it happened, nanoseconds since 1970.
    pub time_ns: i64,
    pub data: Value,
    /// W3C context of whoever caused it; filled by `outbox::enqueue` and by the consumer.
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}

impl Event {
    /// A new event of version 1, now.
    pub fn new(_kind: &str, _key: impl Into<String>, _data: Value) -> Self {
        todo!()
    }
}
