//! What is malformed is an error or a rejected record, never a panic, and costs no neighbour.

use model::{DecodeError, Signal, decode_json, decode_protobuf, encode_json, encode_protobuf};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use crate::generate;

fn spans(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

fn span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![0, 0, 0, 0, 0, 0, 0, 2], ..Default::default() }
}

#[test]
fn a_span_with_bad_ids_is_rejected_and_its_neighbours_stay() {
    let bad = [
        (Span { trace_id: vec![0; 16], ..span() }, "a trace id is 16 bytes, not all zero"),
        (Span { trace_id: vec![1; 15], ..span() }, "a trace id is 16 bytes, not all zero"),
        (Span { span_id: vec![], ..span() }, "a span id is 8 bytes, not all zero"),
        (Span { span_id: vec![1; 16], ..span() }, "a span id is 8 bytes, not all zero"),
        (Span { parent_span_id: vec![1; 3], ..span() }, "a parent span id is 8 bytes"),
        (
            Span { links: vec![Link { trace_id: vec![1; 3], ..Default::default() }], ..span() },
            "the trace id of a link is 16 bytes and its span id 8",
        ),
    ];
    for (bad, reason) in bad {
        let converted = decode_protobuf(Signal::Traces, &spans(vec![span(), bad, span()])).unwrap();
        assert_eq!(converted.batches[0].num_rows(), 2);
        assert_eq!(
            (converted.rejected.count, converted.rejected.message),
            (1, format!("1 span was rejected: {reason}"))
        );
    }
    let converted = decode_protobuf(Signal::Traces, &spans(vec![Span::default(), Span::default()])).unwrap();
    assert!(converted.batches.is_empty());
    assert_eq!(converted.rejected.count, 2);
    assert!(converted.rejected.message.starts_with("2 spans were rejected, the first because a trace id"));
}

#[test]
fn invalid_utf8_is_replaced() {
    let mut request = spans(vec![Span { name: "#####".into(), ..span() }, Span { name: "fine".into(), ..span() }]);
    let at = request.windows(5).position(|window| window == b"#####").unwrap();
    request[at..at + 5].copy_from_slice(b"a\xff\xc3\x28b");
    let converted = decode_protobuf(Signal::Traces, &request).unwrap();
    assert_eq!(converted.rejected.count, 0);
    let json = encode_json(Signal::Traces, &converted.batches);
    let spans = &json["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!((spans[0]["name"].as_str(), spans[1]["name"].as_str()), (Some("a\u{fffd}\u{fffd}(b"), Some("fine")));
}

#[test]
fn a_value_that_nests_too_deep_costs_no_neighbour() {
    fn nest(depth: usize) -> AnyValue {
        let values = if depth == 0 { vec![] } else { vec![nest(depth - 1)] };
        AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values })) }
    }
    let deep = || vec![KeyValue { key: "deep".into(), value: Some(nest(60)), ..Default::default() }];
    let request = spans(vec![span(), Span { attributes: deep(), ..span() }]);
    let converted = decode_protobuf(Signal::Traces, &request).unwrap();
    assert_eq!((converted.batches[0].num_rows(), converted.rejected.count), (2, 0));
    try_both_ways(Signal::Traces, &request);

    // As deep as a body may be, each array replaced by the string after it.
    let mut replaced = Vec::new();
    for _ in 0..2_000 {
        let item = [&b"\x0a"[..], &length(&replaced), &replaced].concat();
        replaced = [&b"\x2a"[..], &length(&item), &item, b"\x0a\x01s"].concat();
    }
    let entry = [&b"\x12"[..], &length(&replaced), &replaced].concat();
    let point = b"\x2a\x02\x0a\x00";
    let metric = [&point[..], b"\x62", &length(&entry), &entry].concat();
    let scope = [&b"\x12"[..], &length(&metric), &metric].concat();
    let resource = [&b"\x12"[..], &length(&scope), &scope].concat();
    let request = [&b"\x0a"[..], &length(&resource), &resource].concat();
    assert_eq!(decode_protobuf(Signal::Metrics, &request).unwrap().batches[0].num_rows(), 1);

    let gauge = Gauge { data_points: vec![NumberDataPoint::default()] };
    let metric = Metric { metadata: deep(), data: Some(metric::Data::Gauge(gauge)), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let converted = decode_protobuf(Signal::Metrics, &request).unwrap();
    assert_eq!((converted.batches[0].num_rows(), converted.rejected.count), (1, 0));
    try_both_ways(Signal::Metrics, &request);
}

/// As a varint.
fn length(bytes: &[u8]) -> Vec<u8> {
    let mut varint = Vec::new();
    prost::encode_length_delimiter(bytes.len(), &mut varint).unwrap();
    varint
}

#[test]
fn nothing_is_an_empty_request() {
    for signal in Signal::ALL {
        for converted in [decode_protobuf(signal, b"").unwrap(), decode_json(signal, b"{}").unwrap()] {
            assert!(converted.batches.is_empty());
            assert_eq!(converted.rejected.count, 0);
        }
        assert!(encode_protobuf(signal, &[]).is_empty());
    }
    let empty_envelopes = br#"{"resourceSpans":[{},{"scopeSpans":[{"spans":[]}]}]}"#;
    assert!(decode_json(Signal::Traces, empty_envelopes).unwrap().batches.is_empty());
}

#[test]
fn a_request_that_multiplies_is_bounded() {
    // One resource of a megabyte, and a thousand log records that would each copy it.
    let records = vec!["{}"; 1000].join(",");
    let request = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]}},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#,
        "x".repeat(1 << 20)
    );
    let converted = decode_json(Signal::Logs, request.as_bytes()).unwrap();
    let kept = converted.batches[0].num_rows();
    assert!((500..512).contains(&kept), "{kept}");
    assert_eq!(converted.rejected.count as usize, 1000 - kept);
    assert!(converted.rejected.message.contains("expands beyond the limit"));
}

#[test]
fn a_resource_is_read_once_however_many_scopes_it_has() {
    // Read once a scope, this would take minutes.
    let scopes = vec![r#"{"scope":{"name":"empty"}}"#; 100_000].join(",");
    let request = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]}},"scopeLogs":[{scopes},{{"logRecords":[{{}}]}}]}}]}}"#,
        "x".repeat(1 << 20)
    );
    let converted = decode_json(Signal::Logs, request.as_bytes()).unwrap();
    assert_eq!(converted.batches[0].num_rows(), 1);
    let json = encode_json(Signal::Logs, &converted.batches);
    assert_eq!(json["resourceLogs"][0]["scopeLogs"][0].get("scope"), None, "nothing is left of the scopes before");
}

#[test]
fn labels_that_multiply_are_bounded() {
    // A megabyte of label, and a thousand rows that each point at it.
    let text = "x".repeat(1 << 20);
    let items = vec!["{}"; 1000].join(",");
    let metric = |member: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"{member}":"{text}","gauge":{{"dataPoints":[{items}]}}}}]}}]}}]}}"#
        )
    };
    let scope = |member: &str| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"scope":{{"{member}":"{text}"}},"logRecords":[{items}]}}]}}]}}"#)
    };
    for (signal, request) in [
        (Signal::Metrics, metric("name")),
        (Signal::Metrics, metric("description")),
        (Signal::Metrics, metric("unit")),
        (Signal::Logs, scope("name")),
        (Signal::Logs, scope("version")),
    ] {
        let converted = decode_json(signal, request.as_bytes()).unwrap();
        let kept = converted.batches[0].num_rows();
        assert!((500..512).contains(&kept), "{kept}");
        assert_eq!(converted.rejected.count as usize, 1000 - kept);
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let body = vec![0; model::BODY_BYTES_MAX + 1];
    assert!(matches!(decode_protobuf(Signal::Logs, &body), Err(DecodeError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            let _ = decode_protobuf(signal, &body);
            let _ = decode_json(signal, &body);
        }
    }

    /// Every prefix that is accepted can be written again; so can every request with bytes changed at random.
    #[test]
    fn damaged_requests_never_panic(
        request in generate::metrics(),
        traces in generate::traces(),
        cut in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (signal, mut body) in [(Signal::Metrics, request.encode_to_vec()), (Signal::Traces, traces.encode_to_vec())] {
            if body.is_empty() {
                continue;
            }
            try_both_ways(signal, &body[..cut.index(body.len())]);
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            try_both_ways(signal, &body);
        }
    }
}

fn try_both_ways(signal: Signal, body: &[u8]) {
    if let Ok(converted) = decode_protobuf(signal, body) {
        let again = decode_json(signal, encode_json(signal, &converted.batches).to_string().as_bytes());
        assert_eq!(again.unwrap().rejected.count, 0);
    }
}

#[test]
fn a_truncated_request_names_the_byte() {
    let body = spans(vec![span()]);
    let error = decode_protobuf(Signal::Traces, &body[..body.len() - 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("malformed protobuf at byte 2: {} bytes announced, {} there", body.len() - 2, body.len() - 3)
    );
}

#[test]
fn keys_that_are_no_text_and_read_alike_are_one() {
    let (_, body) = include_bytes!("../../../fuzz/seeds/protobuf/keys-that-become-one").split_first().unwrap();
    let first = encode_protobuf(Signal::Logs, &decode_protobuf(Signal::Logs, body).unwrap().batches);
    let second = encode_protobuf(Signal::Logs, &decode_protobuf(Signal::Logs, &first).unwrap().batches);
    assert_eq!(first, second);
}
