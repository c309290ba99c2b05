//! What travels: CloudEvents attributes in the headers (Kafka binding, binary mode), the data as JSON in the body.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// As the value of an extension: whoever the extension names has dealt with the event already.
pub const INLINE: &str = "inline";

/// Headers that are attributes of ours; every other `ce_…` is an extension.
const ATTRIBUTES: [&str; 7] =
    ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_dataversion", "ce_sequence"];

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
    /// CloudEvents extension attributes, names in lower-case letters and digits.
    pub extensions: BTreeMap<String, String>,
    /// Place in the outbox it comes from, growing; the relay sets it. Rows of other aggregates may commit out of order.
    pub sequence: Option<i64>,
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
            extensions: BTreeMap::new(),
            sequence: None,
            traceparent: None,
            tracestate: None,
        }
    }

    /// The headers of everything but key, data and trace context.
    pub(crate) fn headers(&self, source: &str) -> Vec<(String, String)> {
        let time = Timestamp::from_nanosecond(self.time_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        let attributes = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_type", self.kind.clone()),
            ("ce_source", source.to_owned()),
            ("ce_time", time.to_string()),
            ("ce_dataversion", self.version.to_string()),
            ("content-type", "application/json".to_owned()),
        ];
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
        let sequence = self.sequence.map(|sequence| ("ce_sequence".to_owned(), sequence.to_string()));
        let extensions = self.extensions.iter().map(|(name, value)| (format!("ce_{name}"), value.clone()));
        attributes.chain(sequence).chain(extensions).collect()
    }

    /// False when everybody it names has dealt with it already.
    pub(crate) fn is_wanted(&self) -> bool {
        self.extensions.is_empty() || self.extensions.values().any(|owner| owner != INLINE)
    }

    pub(crate) fn decode(key: &str, headers: &[(String, String)], body: &[u8]) -> Result<Self, Malformed> {
        let header = |name| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let required = |name| header(name).ok_or(Malformed::Missing(name));
        let sequence = header("ce_sequence").map(str::parse).transpose();
        let extensions = headers.iter().filter(|(name, _)| !ATTRIBUTES.contains(&name.as_str()));
        let extensions =
            extensions.filter_map(|(name, value)| Some((name.strip_prefix("ce_")?.to_owned(), value.clone())));
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
            extensions: extensions.collect(),
            sequence: sequence.map_err(|_| Malformed::Header("ce_sequence"))?,
            traceparent: header("traceparent").map(str::to_owned),
            tracestate: header("tracestate").map(str::to_owned),
        })
    }

    /// The trace context it carries, as header pairs.
    pub fn trace_headers(&self) -> impl Iterator<Item = (&str, &str)> {
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

    #[test]
    fn an_event_survives_its_journey() {
        let mut event = Event::new("thing.happened", "k1", json!({"n": 1}));
        event.sequence = Some(7);
        event.extensions.insert("jobs".to_owned(), "dual".to_owned());
        let body = serde_json::to_vec(&event.data).expect("a value is JSON");
        assert_eq!(Event::decode("k1", &event.headers("till"), &body), Ok(event));
    }

    #[test]
    fn an_event_is_wanted_until_everybody_named_has_dealt_with_it() {
        let routed = |jobs: &str, analytics: &str| {
            let routes = [("jobs", jobs), ("analytics", analytics)].map(|(name, to)| (name.to_owned(), to.to_owned()));
            Event { extensions: routes.into(), ..Event::new("thing.happened", "k1", json!(null)) }.is_wanted()
        };
        assert!(!routed(INLINE, INLINE));
        assert!(routed(INLINE, "dual") && routed("events", INLINE));
        assert!(Event::new("thing.happened", "k1", json!(null)).is_wanted());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let event = Event::new("thing.happened", "k1", json!(null));
        let mut headers = event.headers("till");
        assert_eq!(Event::decode("k1", &headers, b"{"), Err(Malformed::Body));
        headers.retain(|(name, _)| name != "ce_id");
        assert_eq!(Event::decode("k1", &headers, b"{}"), Err(Malformed::Missing("ce_id")));
    }
}
