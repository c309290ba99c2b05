//! OTLP to Arrow to OTLP gives the same multiset back, through either encoding on either side.

use std::fmt::Debug;

use model::{Converted, Signal, decode_json, decode_protobuf, encode_json, encode_protobuf};
use proptest::prelude::*;
use prost::Message;

use crate::generate;
use crate::multiset::{self, Multiset};

/// Through protobuf, then JSON, then protobuf.
fn check<M: Message + Default + Debug>(signal: Signal, request: M, multiset: fn(M) -> Multiset) {
    let sent = request.encode_to_vec();
    let expected = multiset(decoded(&sent));

    let from_protobuf = whole(decode_protobuf(signal, &sent).unwrap());
    assert_eq!(multiset(decoded(&encode_protobuf(signal, &from_protobuf.batches))), expected);

    let json = encode_json(signal, &from_protobuf.batches).to_string();
    let from_json = whole(decode_json(signal, json.as_bytes()).unwrap());
    assert_eq!(multiset(decoded(&encode_protobuf(signal, &from_json.batches))), expected, "{json}");

    let rows: usize = from_json.batches.iter().map(model::Batch::num_rows).sum();
    assert_eq!(rows, expected.len());
    assert!(from_json.batches.iter().all(|batch| batch.num_rows() > 0));
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}

fn whole(converted: Converted) -> Converted {
    assert_eq!(converted.rejected, Default::default());
    converted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn traces(request in generate::traces()) {
        check(Signal::Traces, request, multiset::of_traces);
    }

    #[test]
    fn logs(request in generate::logs()) {
        check(Signal::Logs, request, multiset::of_logs);
    }

    #[test]
    fn metrics(request in generate::metrics()) {
        check(Signal::Metrics, request, multiset::of_metrics);
    }
}

#[test]
fn batches_of_many_requests_leave_as_one() {
    let request = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeSpans":[{"scope":{"name":"lib"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#;
    let mut batches = decode_json(Signal::Traces, request.as_bytes()).unwrap().batches;
    batches.extend(decode_json(Signal::Traces, request.as_bytes()).unwrap().batches);
    let json = encode_json(Signal::Traces, &batches);
    assert_eq!(json["resourceSpans"].as_array().unwrap().len(), 1);
    assert_eq!(json["resourceSpans"][0]["scopeSpans"].as_array().unwrap().len(), 1);
    assert_eq!(json["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 2);
    assert_eq!(encode_json(Signal::Logs, &batches), serde_json::json!({}));
}

#[test]
fn metrics_of_one_name_and_different_kinds_stay_apart() {
    let request = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"m","gauge":{"dataPoints":[{"asInt":"1"}]}},
        {"name":"m","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":"1"}]}},
        {"name":"m","sum":{"aggregationTemporality":2,"dataPoints":[{"asInt":"1"},{"asDouble":1.0}]}},
        {"name":"m","gauge":{"dataPoints":[{}]}}
    ]}]}]}"#;
    let batches = decode_json(Signal::Metrics, request.as_bytes()).unwrap().batches;
    let json = encode_json(Signal::Metrics, &batches);
    let metrics = &json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let expected = serde_json::json!([
        {"name":"m","gauge":{"dataPoints":[{"asInt":"1"},{}]}},
        {"name":"m","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":"1"}]}},
        {"name":"m","sum":{"aggregationTemporality":2,"dataPoints":[{"asInt":"1"},{"asDouble":1.0}]}},
    ]);
    assert_eq!(*metrics, expected);
}
