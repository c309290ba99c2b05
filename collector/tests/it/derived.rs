//! Metrics made of spans: in the store like any other, counted once whatever happens to the collector.

use std::time::Duration;

use model::{Batch, Signal};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::far_end::{FarEnd, answer};
use crate::harness::{TestCollector, eventually, now_ns, post, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const SOON: &str = "--derived-interval-ms=20";

async fn send(collector: &TestCollector, service: &str, spans: Vec<Span>) {
    let mut request = traces(spans);
    let value = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
    let attributes = vec![KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() }];
    request.resource_spans[0].resource = Some(Resource { attributes, ..Resource::default() });
    let answer = post(collector.http, "/v1/traces", &PROTOBUF, &request.encode_to_vec()).await;
    assert_eq!(answer.status, 200);
}

/// A span of that length, in a trace of its own.
fn of(number: u64, name: &str, kind: SpanKind, ms: u64) -> Span {
    let end = now_ns();
    let start = end - ms * 1_000_000;
    let times = (start, end);
    Span {
        name: name.to_owned(),
        kind: kind as i32,
        start_time_unix_nano: times.0,
        end_time_unix_nano: times.1,
        ..span(number)
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Metrics of this run, as OTLP/JSON: what was sealed by a restart is left out.
async fn told(collector: &TestCollector) -> Json {
    let mut batches = Vec::new();
    for table in Signal::Metrics.tables() {
        let rows = collector.snapshot(*table).await.hot.to_vec();
        batches.extend(rows.into_iter().map(|rows| Batch::new(*table, rows).expect("rows of this table")));
    }
    model::encode_json(Signal::Metrics, &batches)
}

/// The newest point of each series of a metric: attributes without what all have, and the point.
fn newest(stored: &Json, metric: &str) -> Vec<(String, Json)> {
    let mut points = std::collections::BTreeMap::<String, Json>::new();
    for point in all(stored, metric) {
        let named = attributes(&point);
        let time = |point: &Json| point["timeUnixNano"].as_str().and_then(|time| time.parse::<u64>().ok());
        let older = points.get(&named).is_none_or(|known| time(known) < time(&point));
        if older {
            points.insert(named, point);
        }
    }
    points.into_iter().collect()
}

fn all(stored: &Json, metric: &str) -> Vec<Json> {
    let list = |of: &Json| of.as_array().cloned().unwrap_or_default();
    let mut points = Vec::new();
    for resource in list(&stored["resourceMetrics"]) {
        for scope in list(&resource["scopeMetrics"]) {
            for found in list(&scope["metrics"]).iter().filter(|found| found["name"] == metric) {
                for kind in ["sum", "histogram"] {
                    let with = |mut point: Json| {
                        point["unit"] = found["unit"].clone();
                        point["temporality"] = found[kind]["aggregationTemporality"].clone();
                        point["monotonic"] = found[kind]["isMonotonic"].clone();
                        point["of"] = resource["resource"]["attributes"].clone();
                        point
                    };
                    points.extend(list(&found[kind]["dataPoints"]).into_iter().map(with));
                }
            }
        }
    }
    points
}

fn attributes(point: &Json) -> String {
    let entries = point["attributes"].as_array().cloned().unwrap_or_default();
    let value = |entry: &Json| {
        let value = &entry["value"];
        value["stringValue"].as_str().map_or_else(|| value["boolValue"].to_string(), str::to_owned)
    };
    entries
        .iter()
        .map(|entry| format!("{}={}", entry["key"].as_str().unwrap_or(""), value(entry)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Attributes and value of each series of a sum.
fn sums(stored: &Json, metric: &str) -> Vec<(String, String)> {
    let points = newest(stored, metric).into_iter();
    points.map(|(named, point)| (named, point["asInt"].as_str().unwrap_or("none").to_owned())).collect()
}

async fn eventually_sums(collector: &TestCollector, metric: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(named, value)| ((*named).to_owned(), (*value).to_owned())).collect();
    let mut last = Vec::new();
    let same = async {
        while last != expected {
            tokio::task::yield_now().await;
            last = sums(&told(collector).await, metric);
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(60), same).await;
    assert!(waiting.is_ok(), "{last:#?}");
}

#[tokio::test]
async fn nothing_is_made_of_spans_unless_asked_for() {
    let collector = TestCollector::with(&[SOON]).await;
    send(&collector, "shop", vec![of(1, "GET /", SpanKind::Server, 1)]).await;
    let (_, health) = collector.health().await;
    assert_eq!(health["sinks"], serde_json::json!([]));
    assert!(all(&told(&collector).await, "calls").is_empty());
    collector.stopped().await;
}

#[tokio::test]
async fn calls_and_durations_have_the_names_and_attributes_of_the_connector() {
    let collector = TestCollector::with(&["--span-metrics", SOON, "--span-metrics-attributes=tenant"]).await;
    let mut failed = of(3, "GET /", SpanKind::Server, 12);
    failed.status = Some(Status { code: 2, message: "no".to_owned() });
    let mut gold = of(4, "charge", SpanKind::Internal, 7);
    gold.attributes = vec![text("tenant", "gold")];
    let quick = || of(1, "GET /", SpanKind::Server, 2);
    send(&collector, "shop", vec![quick(), Span { span_id: vec![9; 8], ..quick() }, failed, gold]).await;
    let get = "service.name=shop span.name=GET / span.kind=SPAN_KIND_SERVER status.code=";
    let [error, unset] = ["STATUS_CODE_ERROR", "STATUS_CODE_UNSET"].map(|status| format!("{get}{status}"));
    let charge =
        "service.name=shop span.name=charge span.kind=SPAN_KIND_INTERNAL status.code=STATUS_CODE_UNSET tenant=gold";
    eventually_sums(&collector, "calls", &[(&error, "1"), (&unset, "2"), (charge, "1")]).await;

    let stored = told(&collector).await;
    let (_, calls) = newest(&stored, "calls").remove(1);
    assert_eq!((&calls["temporality"], &calls["monotonic"]), (&2.into(), &true.into()));
    assert_eq!(calls["of"][0]["value"]["stringValue"], "shop", "found where its spans are");
    let (_, durations) = newest(&stored, "duration").remove(1);
    assert_eq!((&durations["unit"], &durations["count"]), (&"ms".into(), &"2".into()));
    assert_eq!(durations["bucketCounts"][0], "2", "2 ms is within 2 ms");
    assert_eq!((&durations["explicitBounds"][0], durations["sum"].as_f64()), (&2.0.into(), Some(4.0)));
    let points = all(&stored, "duration");
    let exemplars = points.iter().filter_map(|point| point["exemplars"].as_array()).flatten();
    let named: Vec<&str> = exemplars.filter_map(|of| of["traceId"].as_str()).collect();
    assert_eq!(named.len(), 3, "one a bucket that something fell into, once: {named:?}");
    assert!(named.contains(&"00000000000000000000000000000003"), "{named:?}");
    collector.stopped().await;
}

async fn restarted(collector: TestCollector, settings: &[&str], change: impl FnOnce(&TempDir)) -> TestCollector {
    let data = collector.stopped().await;
    change(&data);
    TestCollector::within(data, settings).await
}

#[tokio::test]
async fn a_restart_goes_on_counting_where_it_was() {
    let settings = ["--span-metrics", SOON];
    let calls = "service.name=shop span.name=GET / span.kind=SPAN_KIND_SERVER status.code=STATUS_CODE_UNSET";
    let mut collector = TestCollector::with(&settings).await;
    let mut starts = std::collections::BTreeSet::new();
    for round in 1..=3_u64 {
        send(&collector, "shop", (0..5).map(|at| of(round * 10 + at, "GET /", SpanKind::Server, 1)).collect()).await;
        eventually_sums(&collector, "calls", &[(calls, &(round * 5).to_string())]).await;
        let points = all(&told(&collector).await, "calls");
        starts.extend(points.iter().map(|point| point["startTimeUnixNano"].to_string()));
        collector = restarted(collector, &settings, |_| ()).await;
    }
    assert_eq!(starts.len(), 1, "one series from the first start on");
    collector.stopped().await;
}

/// As a crash leaves it that came after the counting was written and before the range was taken.
#[tokio::test]
async fn a_range_that_comes_again_is_not_counted_again() {
    let settings = ["--span-metrics", SOON];
    let calls = "service.name=shop span.name=GET / span.kind=SPAN_KIND_SERVER status.code=STATUS_CODE_UNSET";
    let collector = TestCollector::with(&settings).await;
    let place = collector.data.path().join("telemetry/cursors/derived.traces.json");
    send(&collector, "shop", vec![of(1, "GET /", SpanKind::Server, 1)]).await;
    eventually_sums(&collector, "calls", &[(calls, "1")]).await;
    let read = |path: &std::path::Path| {
        serde_json::from_slice::<Json>(&std::fs::read(path).expect("it is there")).expect("JSON")
    };
    eventually("the range is taken", async || read(&place)["pending"].is_null()).await;
    let taken = read(&place);
    let back = |_: &TempDir| {
        let mut again = taken.clone();
        again["pending"] = serde_json::json!({ "end": taken["offset"], "since_ms": now_ns() / 1_000_000 });
        (again["offset"], again["rows"]) = (0.into(), 0.into());
        std::fs::write(&place, again.to_string()).expect("it can be written");
    };
    let collector = restarted(collector, &settings, back).await;
    eventually("it comes again", async || read(&place)["pending"].is_null()).await;
    // Counted again it would be two, and then four.
    send(&collector, "shop", vec![of(2, "GET /", SpanKind::Server, 1), of(3, "GET /", SpanKind::Server, 1)]).await;
    eventually_sums(&collector, "calls", &[(calls, "3")]).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_state_that_cannot_be_read_begins_anew_and_says_so_by_its_start() {
    let settings = ["--span-metrics", SOON];
    let calls = "service.name=shop span.name=GET / span.kind=SPAN_KIND_SERVER status.code=STATUS_CODE_UNSET";
    let collector = TestCollector::with(&settings).await;
    send(&collector, "shop", vec![of(1, "GET /", SpanKind::Server, 1), of(2, "GET /", SpanKind::Server, 1)]).await;
    eventually_sums(&collector, "calls", &[(calls, "2")]).await;
    let damage = |data: &TempDir| {
        let state = data.path().join("telemetry/cursors/derived.traces/state.json");
        std::fs::write(state, b"{").expect("it is there");
    };
    let collector = restarted(collector, &settings, damage).await;
    send(&collector, "shop", vec![of(3, "GET /", SpanKind::Server, 1)]).await;
    eventually_sums(&collector, "calls", &[(calls, "1")]).await;
    collector.stopped().await;
}

#[tokio::test]
async fn what_would_be_too_many_series_is_one() {
    let collector = TestCollector::with(&["--span-metrics", SOON, "--derived-series-max=3"]).await;
    let spans = (1..=10).map(|number| of(number, &format!("page {number}"), SpanKind::Server, 1)).collect();
    send(&collector, "shop", spans).await;
    let page = |number: u64| {
        format!("service.name=shop span.name=page {number} span.kind=SPAN_KIND_SERVER status.code=STATUS_CODE_UNSET")
    };
    let pages = [page(1), page(2), page(3)];
    let [first, second, third] = pages.each_ref().map(|name| (name.as_str(), "1"));
    eventually_sums(&collector, "calls", &[("otel.metric.overflow=true", "7"), first, second, third]).await;
    let metrics = crate::harness::request(collector.http, "GET", "/metrics", &[], b"").await;
    let metrics = String::from_utf8(metrics.body).expect("it is text");
    for sample in [
        r#"faultline_collector_derived_series{derived="span_metrics"} 3"#,
        r#"faultline_collector_derived_overflowed{derived="span_metrics"} 7"#,
        r#"faultline_collector_sink_lag_rows{sink_name="derived",otlp_signal="traces"} 0"#,
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in {metrics}");
    }
    collector.stopped().await;
}

/// Client and server of one request.
fn pair(number: u64, client_ms: u64, server_ms: u64) -> (Span, Span) {
    let client = of(number, "GET", SpanKind::Client, client_ms);
    let parent_span_id = client.span_id.clone();
    let server = Span { span_id: vec![7; 8], parent_span_id, ..of(number, "GET /", SpanKind::Server, server_ms) };
    (client, server)
}

#[tokio::test]
async fn a_service_graph_counts_a_request_once_whichever_side_comes_first() {
    let collector = TestCollector::with(&["--service-graph", SOON]).await;
    let (client, server) = pair(1, 30, 20);
    let (late_client, mut early_server) = pair(2, 5, 3);
    early_server.status = Some(Status { code: 2, message: String::new() });
    send(&collector, "web", vec![client]).await;
    send(&collector, "shop", vec![server, early_server]).await;
    send(&collector, "web", vec![late_client]).await;
    let edge = "client=web server=shop connection_type= failed=";
    let (failed, good) = (format!("{edge}true"), format!("{edge}false"));
    eventually_sums(&collector, "traces_service_graph_request_total", &[(&good, "1"), (&failed, "1")]).await;
    let stored = told(&collector).await;
    assert_eq!(sums(&stored, "traces_service_graph_request_failed_total"), [(failed, "1".to_owned())]);
    let seconds = |metric: &str| {
        let (_, point) = newest(&stored, metric).remove(0);
        (point["unit"].clone(), point["sum"].as_f64())
    };
    assert_eq!(seconds("traces_service_graph_request_client_seconds"), ("s".into(), Some(0.03)));
    assert_eq!(seconds("traces_service_graph_request_server_seconds"), ("s".into(), Some(0.02)));
    collector.stopped().await;
}

#[tokio::test]
async fn messages_databases_and_strangers_are_edges_of_their_kind() {
    let collector = TestCollector::with(&["--service-graph", "--service-graph-wait-max-ms=200", SOON]).await;
    let producer = |number| of(number, "orders publish", SpanKind::Producer, 1);
    let link = |to: &Span| Link { trace_id: to.trace_id.clone(), span_id: to.span_id.clone(), ..Link::default() };
    let (first, second) = (producer(1), producer(2));
    let batch = Span { links: vec![link(&first), link(&second)], ..of(50, "orders process", SpanKind::Consumer, 4) };
    // The child of one of them, linked to it as well, and in another service.
    let one = Span {
        trace_id: first.trace_id.clone(),
        span_id: vec![8; 8],
        parent_span_id: first.span_id.clone(),
        links: vec![link(&first)],
        ..of(51, "orders process", SpanKind::Consumer, 4)
    };
    let database = Span { attributes: vec![text("db.name", "orders")], ..of(3, "SELECT", SpanKind::Client, 2) };
    let stranger = Span { attributes: vec![text("peer.service", "bank")], ..of(4, "POST", SpanKind::Client, 2) };
    let nobody = of(5, "GET", SpanKind::Client, 2);
    send(&collector, "shop", vec![first, second, database, stranger, nobody]).await;
    send(&collector, "jobs", vec![batch]).await;
    send(&collector, "analytics", vec![one]).await;
    send(&collector, "web", vec![of(6, "GET /", SpanKind::Server, 2)]).await;
    let edges = [
        ("client=shop server=analytics connection_type=messaging_system failed=false", "1"),
        ("client=shop server=bank connection_type=virtual_node failed=false", "1"),
        ("client=shop server=jobs connection_type=messaging_system failed=false", "2"),
        ("client=shop server=orders connection_type=database failed=false", "1"),
        ("client=user server=web connection_type=virtual_node failed=false", "1"),
    ];
    eventually_sums(&collector, "traces_service_graph_request_total", &edges).await;
    let metrics = crate::harness::request(collector.http, "GET", "/metrics", &[], b"").await;
    let metrics = String::from_utf8(metrics.body).expect("it is text");
    let expired = "faultline_collector_derived_expired 1";
    assert!(metrics.lines().any(|line| line == expired), "the call that nobody answered: {metrics}");
    collector.stopped().await;
}

#[tokio::test]
async fn a_request_whose_other_side_comes_after_a_restart_is_counted() {
    let settings = ["--service-graph", "--service-graph-wait-max-ms=600000", SOON];
    let collector = TestCollector::with(&settings).await;
    let (client, server) = pair(1, 30, 20);
    send(&collector, "web", vec![client]).await;
    let waiting = async |collector: &TestCollector| {
        let metrics = crate::harness::request(collector.http, "GET", "/metrics", &[], b"").await;
        let metrics = String::from_utf8(metrics.body).expect("it is text");
        metrics.contains(r#"faultline_collector_queue_length{queue="service_graph_requests"} 1"#)
    };
    eventually("it waits", async || waiting(&collector).await).await;
    let collector = restarted(collector, &settings, |_| ()).await;
    assert!(waiting(&collector).await, "still");
    send(&collector, "shop", vec![server]).await;
    let edge = "client=web server=shop connection_type= failed=false";
    eventually_sums(&collector, "traces_service_graph_request_total", &[(edge, "1")]).await;
    collector.stopped().await;
}

#[tokio::test]
async fn metrics_made_of_spans_go_to_the_sinks_too() {
    let far = FarEnd::start(|_, _| answer(200, "")).await;
    let url = format!("--otlp-out-url={}", far.url());
    let settings = ["--span-metrics", SOON, &url, "--otlp-out-protocol=http", "--otlp-out-wait-max-ms=1"];
    let collector = TestCollector::with(&settings).await;
    send(&collector, "shop", vec![of(1, "GET /", SpanKind::Server, 1)]).await;
    eventually("they arrive", async || far.asked().iter().any(|asked| asked.path == "/v1/metrics")).await;
    collector.stopped().await;
}
