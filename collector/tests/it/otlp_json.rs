//! The rules of OTLP/JSON where weak implementations differ, as bytes on a socket and read back from the store.

use model::Signal;
use serde_json::{Value, json};

use crate::harness::{TestCollector, post};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// One span with these members beside its ids, as it is stored.
async fn span(collector: &TestCollector, members: &str) -> Value {
    let before = spans(collector).await.len();
    let answer = post(collector.http, "/v1/traces", &JSON, request(members).as_bytes()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{members}: {answer:?}");
    let mut spans = spans(collector).await;
    assert_eq!(spans.len(), before + 1);
    let mut span = spans.swap_remove(before);
    for id in ["traceId", "spanId"] {
        span.as_object_mut().expect("a span is an object").remove(id);
    }
    span
}

async fn spans(collector: &TestCollector) -> Vec<Value> {
    let stored = collector.stored(Signal::Traces).await;
    stored["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().unwrap_or_default()
}

fn request(members: &str) -> String {
    let ids = r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids}{members}}}]}}]}}]}}"#)
}

#[tokio::test]
async fn ids_are_hex_in_either_case_and_keep_leading_zeros() {
    let collector = TestCollector::start().await;
    let request = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000ABC",
        "spanId":"00aBcDeF01234567","parentSpanId":"00ABCDEF01234568"}]}]}]}"#;
    assert_eq!(post(collector.http, "/v1/traces", &JSON, request.as_bytes()).await.status, 200);
    assert_eq!(
        spans(&collector).await,
        [
            json!({"traceId": "00000000000000000000000000000abc", "spanId": "00abcdef01234567", "parentSpanId": "00abcdef01234568"})
        ]
    );
    collector.stopped().await;
}

#[tokio::test]
async fn integers_of_64_bits_come_as_text_or_number_and_stay_exact() {
    let collector = TestCollector::start().await;
    for number in ["9007199254740993", "18446744073709551615"] {
        let expected = json!({"startTimeUnixNano": number});
        assert_eq!(span(&collector, &format!(r#","startTimeUnixNano":"{number}""#)).await, expected);
        assert_eq!(span(&collector, &format!(r#","startTimeUnixNano":{number}"#)).await, expected);
    }
    let attributes = |value: &str| format!(r#","attributes":[{{"key":"k","value":{{"intValue":{value}}}}}]"#);
    for value in ["-9223372036854775808", r#""-9223372036854775808""#] {
        let span = span(&collector, &attributes(value)).await;
        assert_eq!(span["attributes"][0]["value"], json!({"intValue": "-9223372036854775808"}));
    }
    collector.stopped().await;
}

#[tokio::test]
async fn enums_are_integers_only() {
    let collector = TestCollector::start().await;
    assert_eq!(span(&collector, r#","kind":3,"status":{"code":2}"#).await, json!({"kind": 3, "status": {"code": 2}}));
    let answer = post(collector.http, "/v1/traces", &JSON, request(r#","kind":"SPAN_KIND_CLIENT""#).as_bytes()).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["message"].as_str().map(str::to_owned).expect("a sentence");
    assert!(message.contains("spans[0].kind") && message.contains("SPAN_KIND_CLIENT"), "{message}");
    collector.stopped().await;
}

#[tokio::test]
async fn unknown_fields_and_other_spellings_are_ignored() {
    let collector = TestCollector::start().await;
    assert_eq!(span(&collector, r#","name":"n","later":{"a":[1,{"b":null}]},"zz":"x""#).await, json!({"name": "n"}));
    assert_eq!(span(&collector, r#","start_time_unix_nano":"5","Name":"n","trace_state":"s""#).await, json!({}));
    collector.stopped().await;
}

#[tokio::test]
async fn bytes_are_base64_and_what_is_no_number_is_text() {
    let collector = TestCollector::start().await;
    for (value, expected) in [
        (r#"{"bytesValue":"AQL/"}"#, json!({"bytesValue": "AQL/"})),
        (r#"{"doubleValue":"NaN"}"#, json!({"doubleValue": "NaN"})),
        (r#"{"doubleValue":"Infinity"}"#, json!({"doubleValue": "Infinity"})),
        (r#"{"doubleValue":"-Infinity"}"#, json!({"doubleValue": "-Infinity"})),
        (r#"{"doubleValue":5}"#, json!({"doubleValue": 5.0})),
        (r#"{"intValue":"5"}"#, json!({"intValue": "5"})),
    ] {
        let span = span(&collector, &format!(r#","attributes":[{{"key":"k","value":{value}}}]"#)).await;
        assert_eq!(span["attributes"][0]["value"], expected, "{value}");
    }
    collector.stopped().await;
}

#[tokio::test]
async fn a_log_record_without_ids_belongs_to_no_trace() {
    let collector = TestCollector::start().await;
    let records = r#"{"timeUnixNano":"1"},{"timeUnixNano":"2","traceId":"","spanId":""},
        {"timeUnixNano":"3","traceId":"00000000000000000000000000000000","spanId":"0000000000000000"}"#;
    let request = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
    let answer = post(collector.http, "/v1/logs", &JSON, request.as_bytes()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{answer:?}");
    let stored = collector.stored(Signal::Logs).await;
    assert_eq!(
        stored["resourceLogs"][0]["scopeLogs"][0]["logRecords"],
        json!([{"timeUnixNano": "1"}, {"timeUnixNano": "2"}, {"timeUnixNano": "3"}])
    );
    collector.stopped().await;
}
