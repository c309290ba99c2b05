//! What travels: CloudEvents attributes in the headers (Kafka binding, binary mode), the data as JSON in the body.

use jiff::Timestamp;
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

/// A message that is no event of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {0} does not parse")]
    Header(&'static str),
    #[error("the body is not JSON")]
    Body,
}

impl Event {
    /// A new event of version 1, now.
    pub fn new(kind: &str, key: impl Into<String>, data: Value) -> Self {
        Self {
            id: Uuid::now_v7(),
            kind: kind.to_owned(),
            version: 1,
            key: key.into(),
            time_ns: now_ns(),
            data,
            traceparent: None,
            tracestate: None,
        }
    }

    /// The headers of everything but key, data and trace context.
    pub(crate) fn headers(&self, source: &str) -> Vec<(&'static str, String)> {
        let time = Timestamp::from_nanosecond(self.time_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_type", self.kind.clone()),
            ("ce_source", source.to_owned()),
            ("ce_time", time.to_string()),
            ("ce_dataversion", self.version.to_string()),
            ("content-type", "application/json".to_owned()),
        ]
    }

    pub(crate) fn decode(key: &str, headers: &[(String, String)], body: &[u8]) -> Result<Self, Malformed> {
        let header = |name| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let required = |name| header(name).ok_or(Malformed::Missing(name));
        let time: Timestamp = required("ce_time")?.parse().map_err(|_| Malformed::Header("ce_time"))?;
        Ok(Self {
            id: required("ce_id")?.parse().map_err(|_| Malformed::Header("ce_id"))?,
            kind: required("ce_type")?.to_owned(),
            version: header("ce_dataversion")
                .unwrap_or("1")
                .parse()
                .map_err(|_| Malformed::Header("ce_dataversion"))?,
            key: key.to_owned(),
            time_ns: i64::try_from(time.as_nanosecond()).map_err(|_| Malformed::Header("ce_time"))?,
            data: serde_json::from_slice(body).map_err(|_| Malformed::Body)?,
            traceparent: header("traceparent").map(str::to_owned),
            tracestate: header("tracestate").map(str::to_owned),
        })
    }

    /// The trace context it carries, as header pairs.
    pub(crate) fn trace_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let traceparent = self.traceparent.as_deref().map(|value| ("traceparent", value));
        traceparent.into_iter().chain(self.tracestate.as_deref().map(|value| ("tracestate", value)))
    }
}

pub(crate) fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pairs(event: &Event) -> Vec<(String, String)> {
        event.headers("till").into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn an_event_survives_its_journey() {
        let event = Event::new("thing.happened", "k1", json!({"n": 1}));
        let body = serde_json::to_vec(&event.data).expect("a value is JSON");
        assert_eq!(Event::decode("k1", &pairs(&event), &body), Ok(event));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let event = Event::new("thing.happened", "k1", json!(null));
        let mut headers = pairs(&event);
        assert_eq!(Event::decode("k1", &headers, b"{"), Err(Malformed::Body));
        headers.retain(|(name, _)| name != "ce_id");
        assert_eq!(Event::decode("k1", &headers, b"{}"), Err(Malformed::Missing("ce_id")));
    }
}
