//! Nothing is lost on the way in: what was sent as JSON, as protobuf and over gRPC is what would leave again.

use model::Signal;
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::harness::{TestCollector, call, framed, post};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

const EXPORTS: [&str; 3] = [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
];

async fn survives(signal: Signal, request: &str) {
    let expected: Value = plain(&serde_json::from_str(request).expect("the request is JSON"));
    let wire = model::decode_json(signal, request.as_bytes()).expect("the request makes sense");
    assert_eq!(wire.rejected.count, 0, "{}", wire.rejected.message);
    let wire = model::encode_protobuf(signal, &wire.batches);
    let path = format!("/v1/{}", signal.name());
    for way in ["json", "protobuf", "grpc"] {
        let collector = TestCollector::start().await;
        match way {
            "json" => assert_eq!(post(collector.http, &path, &JSON, request.as_bytes()).await.status, 200),
            "protobuf" => assert_eq!(post(collector.http, &path, &PROTOBUF, &wire).await.status, 200),
            _ => {
                let call = call(collector.grpc, EXPORTS[signal as usize], &[], framed(0, &wire)).await;
                assert_eq!(call.status.code(), Code::Ok);
            }
        }
        let stored = plain(&collector.stored(signal).await);
        assert_eq!(stored, expected, "{way}");
        collector.stopped().await;
    }
}

/// One spelling of what has several: ids in lower case, integers of 64 bits as numbers, nothing for a default.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| match (name.as_str(), value) {
                ("traceId" | "spanId" | "parentSpanId", Value::String(id)) => (name.clone(), json!(id.to_lowercase())),
                // The type of an attribute's value is what must survive, so it is left as it is.
                ("value", Value::Object(_)) => (name.clone(), value.clone()),
                _ => (name.clone(), plain(value)),
            });
            Value::Object(members.filter(|(_, value)| !is_default(value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::String(text) => text.parse::<f64>().map_or_else(|_| value.clone(), |number| json!(number)),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[tokio::test]
async fn the_examples_of_the_specification() {
    survives(Signal::Traces, include_str!("../otlp-examples/trace.json")).await;
    survives(Signal::Logs, include_str!("../otlp-examples/logs.json")).await;
    survives(Signal::Logs, include_str!("../otlp-examples/events.json")).await;
    survives(Signal::Metrics, include_str!("../otlp-examples/metrics.json")).await;
}

/// Where a record comes from, with everything that can be said of it.
const ORIGIN: &str = r#"
    "resource": {
        "attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}, {"key": "host.cores", "value": {"intValue": "8"}}],
        "droppedAttributesCount": 2,
        "entityRefs": [{"schemaUrl": "https://e.example", "type": "service", "idKeys": ["service.name"], "descriptionKeys": ["host.cores"]}]
    },
    "schemaUrl": "https://resource.example/1""#;
const SCOPE: &str = r#"
    "scope": {"name": "lib", "version": "1.2", "droppedAttributesCount": 3,
        "attributes": [{"key": "a", "value": {"boolValue": true}}]},
    "schemaUrl": "https://scope.example/2""#;

#[tokio::test]
async fn every_field_of_a_span() {
    let values = r#"[
        {"key": "s", "value": {"stringValue": "200"}}, {"key": "i", "value": {"intValue": "200"}},
        {"key": "b", "value": {"boolValue": false}}, {"key": "d", "value": {"doubleValue": 200.0}},
        {"key": "x", "value": {"bytesValue": "AQL/"}}, {"key": "empty", "value": {}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "1"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 0.5}}]}}}
    ]"#;
    let span = format!(
        r#"{{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "00000000c3c1b174", "parentSpanId": "eee19b7ec3c1b173",
            "flags": 769, "traceState": "k=v,w=x", "name": "pay", "kind": 2,
            "startTimeUnixNano": "1544712660000000001", "endTimeUnixNano": "1544712661000000003",
            "attributes": {values}, "droppedAttributesCount": 4,
            "events": [{{"timeUnixNano": "1544712660500000000", "name": "retry", "attributes": {values}, "droppedAttributesCount": 5}}],
            "droppedEventsCount": 6,
            "links": [{{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175", "traceState": "l=1",
                "attributes": {values}, "droppedAttributesCount": 7, "flags": 768}}],
            "droppedLinksCount": 8, "status": {{"code": 2, "message": "declined"}}}}"#
    );
    let request = format!(r#"{{"resourceSpans": [{{{ORIGIN}, "scopeSpans": [{{{SCOPE}, "spans": [{span}]}}]}}]}}"#);
    survives(Signal::Traces, &request).await;
}

#[tokio::test]
async fn every_field_of_a_log_record() {
    let record = r#"{"timeUnixNano": "1544712660300000000", "observedTimeUnixNano": "1544712660300000001", "severityNumber": 10,
        "severityText": "Information", "eventName": "page", "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174", "flags": 1, "droppedAttributesCount": 9,
        "attributes": [{"key": "z", "value": {"intValue": "1"}}, {"key": "a", "value": {"stringValue": "1"}}],
        "body": {"kvlistValue": {"values": [{"key": "type", "value": {"intValue": "7"}}]}}}"#;
    let request =
        format!(r#"{{"resourceLogs": [{{{ORIGIN}, "scopeLogs": [{{{SCOPE}, "logRecords": [{record}]}}]}}]}}"#);
    survives(Signal::Logs, &request).await;
}

#[tokio::test]
async fn every_kind_of_point() {
    let exemplar = r#"[{"timeUnixNano": "2", "asDouble": 2.5, "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
        "filteredAttributes": [{"key": "user", "value": {"stringValue": "u"}}]}, {"timeUnixNano": "3", "asInt": "4"}]"#;
    let metrics = format!(
        r#"[
        {{"name": "c", "unit": "1", "description": "counts", "metadata": [{{"key": "k", "value": {{"stringValue": "v"}}}}],
            "sum": {{"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
                {{"asDouble": 5.5, "startTimeUnixNano": "1", "timeUnixNano": "2", "exemplars": {exemplar}}}]}}}},
        {{"name": "u", "sum": {{"aggregationTemporality": 2, "dataPoints": [{{"asInt": "-5", "timeUnixNano": "2"}}]}}}},
        {{"name": "g", "gauge": {{"dataPoints": [{{"asInt": "10", "timeUnixNano": "2"}}, {{"timeUnixNano": "3", "flags": 1}}]}}}},
        {{"name": "h", "histogram": {{"aggregationTemporality": 2, "dataPoints": [
            {{"startTimeUnixNano": "1", "timeUnixNano": "2", "count": "2", "sum": 2.5, "bucketCounts": ["1", "1"],
                "explicitBounds": [1.5], "min": 0.5, "max": 2.0, "exemplars": {exemplar}}},
            {{"timeUnixNano": "3", "count": "1", "bucketCounts": ["1"]}}]}}}},
        {{"name": "e", "exponentialHistogram": {{"aggregationTemporality": 1, "dataPoints": [
            {{"timeUnixNano": "2", "count": "3", "sum": 10.5, "min": 0.5, "max": 5.5, "scale": -1, "zeroCount": "1",
                "zeroThreshold": 0.25, "positive": {{"offset": -3, "bucketCounts": ["4", "2"]}},
                "negative": {{"offset": 2, "bucketCounts": ["1"]}}, "exemplars": {exemplar}}}]}}}},
        {{"name": "s", "summary": {{"dataPoints": [
            {{"startTimeUnixNano": "1", "timeUnixNano": "2", "count": "3", "sum": 10.5, "quantileValues": [
                {{"quantile": 0.5, "value": 4.5}}, {{"quantile": 0.99, "value": 9.5}}]}}]}}}}
        ]"#
    );
    let request =
        format!(r#"{{"resourceMetrics": [{{{ORIGIN}, "scopeMetrics": [{{{SCOPE}, "metrics": {metrics}}}]}}]}}"#);
    survives(Signal::Metrics, &request).await;
}
