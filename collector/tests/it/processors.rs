//! What `[processors]` declares, seen from both ends: what was sent, and what was stored.

use std::io::Write;

use model::{Signal, Table};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tempfile::NamedTempFile;
use tonic::Code;

use crate::harness::{TRACES, TestCollector, args, call, framed, gzip, post, recent_span, request, traces};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn file(declared: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(declared.as_bytes()).expect("it takes a few bytes");
    file
}

async fn collector(file: &NamedTempFile) -> TestCollector {
    TestCollector::with(&["--processors", path(file)]).await
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a temporary file has a plain name")
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// Posts it and expects a success that says nothing of what was left out.
async fn send(collector: &TestCollector, request: &ExportTraceServiceRequest) {
    let answer = post(collector.http, "/v1/traces", &[PROTOBUF], &request.encode_to_vec()).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
}

/// The spans that are stored, with all they have.
async fn spans(collector: &TestCollector) -> Vec<serde_json::Value> {
    let stored = collector.stored(Signal::Traces).await;
    let scopes = stored["resourceSpans"].as_array().cloned().unwrap_or_default();
    scopes.iter().flat_map(|of| of["scopeSpans"][0]["spans"].as_array().expect("spans").clone()).collect()
}

async fn measured(collector: &TestCollector, series: &str) -> Option<u64> {
    let page = request(collector.http, "GET", "/metrics", &[], b"").await.body;
    let page = String::from_utf8(page).expect("metrics are text");
    let line = page.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

#[tokio::test]
async fn what_is_stored_is_what_the_rules_left_and_all_of_it_is_counted() {
    let file = file(
        r#"
        [[processors.attributes]]
        action = "upsert"
        key = "deployment.environment.name"
        value = "test"
        in = "resource"

        [[processors.filter]]
        drop = { name_matches = "health" }

        [processors.sampling]
        percentage = 50

        [processors.redaction]
        "#,
    );
    let collector = collector(&file).await;
    let with_id = |last_seven_bytes: u64, name: &str| {
        let mut trace_id = 1_u128.to_be_bytes();
        trace_id[9..].copy_from_slice(&last_seven_bytes.to_be_bytes()[1..]);
        Span { trace_id: trace_id.to_vec(), name: name.to_owned(), ..recent_span(last_seven_bytes) }
    };
    let mut kept = with_id(u64::MAX >> 8, "pay");
    kept.attributes = vec![attribute("note", "paid with 4111 1111 1111 1111")];
    // Large enough to be decoded off the async threads, and so is what becomes of it.
    kept.attributes.push(attribute("large", &"x".repeat(100 << 10)));
    send(&collector, &traces(vec![kept, with_id((u64::MAX >> 8) - 1, "GET /health"), with_id(1, "unlucky")])).await;

    let stored = spans(&collector).await;
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0]["name"], &stored[0]["traceState"]), (&"pay".into(), &"ot=th:8".into()));
    assert_eq!(stored[0]["attributes"][0]["value"]["stringValue"], "paid with ****");
    let resource = &collector.stored(Signal::Traces).await["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(
        (&resource["key"], &resource["value"]["stringValue"]),
        (&"deployment.environment.name".into(), &"test".into())
    );

    for (series, expected) in [
        (r#"faultline_collector_processor_changed_total{processor="attributes",otlp_signal="traces"}"#, 3),
        (r#"faultline_collector_processor_dropped_total{processor="filter",otlp_signal="traces"}"#, 1),
        (r#"faultline_collector_processor_dropped_total{processor="sampling",otlp_signal="traces"}"#, 1),
        (r#"faultline_collector_processor_masked_total{processor="redaction",otlp_signal="traces"}"#, 1),
        (r#"faultline_collector_items_total{otlp_signal="traces",outcome="accepted"}"#, 1),
        (r#"faultline_collector_items_total{otlp_signal="traces",outcome="rejected"}"#, 0),
    ] {
        assert_eq!(measured(&collector, series).await, Some(expected), "{series}");
    }
    collector.stopped().await;
}

#[tokio::test]
async fn a_request_of_which_nothing_is_left_is_a_success() {
    let file = file("[[processors.filter]]\ndrop = { name_matches = \"\" }");
    let collector = collector(&file).await;
    send(&collector, &traces(vec![recent_span(1)])).await;
    let call = call(collector.grpc, TRACES, &[], framed(0, &traces(vec![recent_span(2)]).encode_to_vec())).await;
    assert_eq!((call.status.code(), call.message.len()), (Code::Ok, 5), "an empty message");
    assert_eq!(collector.count(Table::Spans).await, 0);
    collector.stopped().await;
}

#[tokio::test]
async fn the_same_bytes_are_kept_once_however_they_come_and_after_a_restart() {
    let file = file("[processors.repeats]");
    let settings = ["--processors", path(&file)];
    let collector = TestCollector::with(&settings).await;
    let body = traces(vec![recent_span(1), recent_span(2)]).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &[PROTOBUF], &body).await.status, 200);
    assert_eq!(post(collector.http, "/v1/traces", &[PROTOBUF], &body).await.status, 200);
    let compressed = [PROTOBUF, ("content-encoding", "gzip")];
    assert_eq!(post(collector.http, "/v1/traces", &compressed, &gzip(&body)).await.status, 200);
    assert_eq!(call(collector.grpc, TRACES, &[], framed(0, &body)).await.status.code(), Code::Ok);
    send(&collector, &traces(vec![recent_span(3)])).await;
    assert_eq!(collector.count(Table::Spans).await, 3);
    let requests = r#"faultline_collector_requests_total{otlp_signal="traces",outcome="#;
    assert_eq!(measured(&collector, &format!("{requests}\"accepted\"}}")).await, Some(2));
    assert_eq!(measured(&collector, &format!("{requests}\"repeated\"}}")).await, Some(3));
    let known = r#"faultline_collector_queue_length{queue="known_traces_requests"}"#;
    assert_eq!(measured(&collector, known).await, Some(2));

    let collector = TestCollector::within(collector.stopped().await, &settings).await;
    assert_eq!(post(collector.http, "/v1/traces", &[PROTOBUF], &body).await.status, 200);
    assert_eq!(collector.count(Table::Spans).await, 3);
    collector.stopped().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_like_the_first() {
    let file = file("[processors.repeats]\nwindow_seconds = 60");
    let collector = collector(&file).await;
    let body = traces(vec![recent_span(1), Span { trace_id: vec![0; 16], ..recent_span(2) }]).encode_to_vec();
    for _ in 0..2 {
        let answer = post(collector.http, "/v1/traces", &[PROTOBUF], &body).await;
        let partial = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a response").partial_success;
        assert_eq!((answer.status, partial.expect("one was rejected").rejected_spans), (200, 1));
    }
    assert_eq!(collector.count(Table::Spans).await, 1);
    collector.stopped().await;
}

#[tokio::test]
async fn without_being_asked_the_same_bytes_are_kept_each_time() {
    let collector = TestCollector::start().await;
    let request = traces(vec![recent_span(1)]);
    send(&collector, &request).await;
    send(&collector, &request).await;
    assert_eq!(collector.count(Table::Spans).await, 2);
    let known = r#"faultline_collector_queue_length{queue="known_traces_requests"}"#;
    assert_eq!(measured(&collector, known).await, None);
    collector.stopped().await;
}

#[tokio::test]
async fn a_declaration_that_is_not_understood_keeps_it_from_starting() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let bind = async |path: &str| match collector::Server::bind(args(data.path(), &["--processors", path])).await {
        Ok(_) => panic!("{path} must be refused"),
        Err(error) => format!("{error:#}"),
    };
    let wrong = file("data-dir = \"d\"\n[processors.sampling]\npercentage = 110\n");
    let said = bind(path(&wrong)).await;
    let expected = "are not understood: line 3, `percentage = 110`: a percentage is a number from 0 to 100";
    assert!(said.starts_with(&format!("the processors in {} ", path(&wrong))) && said.ends_with(expected), "{said}");
    let said = bind("no/such/file.toml").await;
    assert!(said.starts_with("could not read the processors of --processors from no/such/file.toml"), "{said}");
}
