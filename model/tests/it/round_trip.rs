//! OTLP to Arrow to OTLP gives the same multiset back, through either encoding on either side.

use std::fmt::Debug;

use model::{Converted, Signal, decode_json, decode_protobuf, decode_protobuf_together, encode_json, encode_protobuf};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
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

/// Several are what each of them is.
fn check_together<M: Message + Default + Debug>(signal: Signal, requests: Vec<M>, multiset: fn(M) -> Multiset) {
    let sent: Vec<Vec<u8>> = requests.iter().map(M::encode_to_vec).collect();
    let together = decode_protobuf_together(signal, sent.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(together.rejected, vec![Default::default(); sent.len()]);
    let mut expected: Multiset = sent.iter().flat_map(|request| multiset(decoded(request))).collect();
    expected.sort();
    assert_eq!(multiset(decoded(&encode_protobuf(signal, &together.batches))), expected);
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

    #[test]
    fn several_together(
        traces in prop::collection::vec(generate::traces(), 0..4),
        logs in prop::collection::vec(generate::logs(), 0..4),
        metrics in prop::collection::vec(generate::metrics(), 0..4),
    ) {
        check_together(Signal::Traces, traces, multiset::of_traces);
        check_together(Signal::Logs, logs, multiset::of_logs);
        check_together(Signal::Metrics, metrics, multiset::of_metrics);
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

#[test]
fn of_requests_together_each_hears_what_was_left_out_of_it() {
    let good = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#;
    let good = encode_protobuf(Signal::Traces, &decode_json(Signal::Traces, good.as_bytes()).unwrap().batches);
    let spans = vec![Span::default()];
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let bad = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let bodies = [&good[..], &bad, &[], &good];
    let together = decode_protobuf_together(Signal::Traces, bodies).unwrap();
    let counts: Vec<u64> = together.rejected.iter().map(|rejected| rejected.count).collect();
    assert_eq!((counts, together.batches[0].num_rows()), (vec![0, 1, 0, 0], 2));
    assert!(together.rejected[1].message.contains("a trace id is 16 bytes"), "{:?}", together.rejected);
    let broken = [&good[..], &[0xff; 3]];
    assert!(decode_protobuf_together(Signal::Traces, broken).is_err(), "none of them then");
}
