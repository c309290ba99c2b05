//! What goes on to others: all of it, once where the far end can tell, and nothing of it in the way of receiving.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use model::{Signal, Table};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;

use crate::far_end::{Asked, FakeClickHouse, FarEnd, answer};
use crate::harness::{TestCollector, eventually, post, recent_span, request, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
/// Nothing waits for more rows, and a failure costs no time.
const AT_ONCE: [&str; 5] = [
    "--clickhouse-wait-max-ms=1",
    "--otlp-out-wait-max-ms=1",
    "--sink-retry-min-ms=1",
    "--sink-retry-max-ms=20",
    "--clickhouse-compression=none",
];

async fn collector(settings: &[&str]) -> TestCollector {
    TestCollector::with(&[&AT_ONCE, settings].concat()).await
}

async fn send(collector: &TestCollector, numbers: impl IntoIterator<Item = u64>) {
    let body = traces(numbers.into_iter().map(recent_span).collect()).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
}

async fn state(collector: &TestCollector, sink: &str) -> serde_json::Value {
    let (code, health) = collector.health().await;
    assert_eq!(code, 200, "a sink never makes the collector unwell");
    let sinks = health["sinks"].as_array().expect("a list").clone();
    let wanted = |entry: &serde_json::Value| entry["sink"] == sink && entry["signal"] == "traces";
    sinks.into_iter().find(wanted).expect("the sink is set")
}

/// Nothing is left to take.
async fn drained(collector: &TestCollector, sink: &str) {
    eventually("the sink has everything", async || state(collector, sink).await["lag"]["rows"] == 0).await;
}

#[tokio::test]
async fn without_a_sink_nothing_is_said_of_any() {
    let collector = TestCollector::start().await;
    let (_, health) = collector.health().await;
    assert_eq!((&health["sinks"], &health["store"]["cursors"]), (&serde_json::json!([]), &serde_json::json!([])));
    collector.stopped().await;
}

#[tokio::test]
async fn clickhouse_gets_tables_and_every_row() {
    let far = FakeClickHouse::start().await;
    let url = format!("--clickhouse-url={}", far.server.url());
    let collector = collector(&[&url, "--clickhouse-user=writer", "--clickhouse-password=hush"]).await;
    for first in [0, 10, 20] {
        send(&collector, first..first + 10).await;
    }
    eventually("all rows arrive", async || far.rows("otel_traces") == 30).await;
    drained(&collector, "clickhouse").await;
    let made: String = far.statements().join("\n");
    for part in ["CREATE DATABASE", "`otel_traces`", "`otel_traces_trace_id_ts`", "CREATE MATERIALIZED VIEW"] {
        assert!(made.contains(part), "{part} is not in {made}");
    }
    assert!(!made.contains("otel_logs"), "a table is made when it is first needed");
    let asked = far.server.asked();
    let insert = asked.iter().find(|asked| asked.insert().is_some()).expect("there were inserts");
    assert!(insert.headers.get("x-clickhouse-user").is_some_and(|user| user == "writer"), "{insert:?}");
    assert_eq!(insert.parameter("async_insert").as_deref(), Some("0"));
    assert_eq!(state(&collector, "clickhouse").await["rows_delivered"], 30);
    collector.stopped().await;
}

#[tokio::test]
async fn an_insert_whose_answer_was_lost_is_made_again_and_counts_once() {
    let far = FakeClickHouse::losing_answers(3).await;
    let collector = collector(&[&format!("--clickhouse-url={}", far.server.url())]).await;
    send(&collector, 0..7).await;
    drained(&collector, "clickhouse").await;
    assert_eq!((far.rows("otel_traces"), far.tokens().len()), (7, 1));
    let inserts: Vec<Asked> = far.server.asked().into_iter().filter(|asked| asked.insert().is_some()).collect();
    assert_eq!(inserts.len(), 4);
    assert!(inserts.iter().all(|insert| insert.body == inserts[0].body), "the same bytes under the same token");
    let state = state(&collector, "clickhouse").await;
    assert_eq!((&state["failures"], &state["state"]), (&3.into(), &"works".into()));
    collector.stopped().await;
}

#[tokio::test]
async fn absurd_times_have_a_table_of_their_own() {
    let far = FakeClickHouse::start().await;
    let collector = collector(&[&format!("--clickhouse-url={}", far.server.url())]).await;
    let mut absurd = span(1);
    (absurd.start_time_unix_nano, absurd.end_time_unix_nano) = (7, 8);
    let body = traces(vec![absurd, recent_span(2)]).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    eventually("both arrive", async || (far.rows("otel_traces"), far.rows("otel_traces_quarantine")) == (1, 1)).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_table_that_is_there_gets_what_it_lacks_or_is_left_alone() {
    let far = FakeClickHouse::start().await;
    far.has("spans_of_ours", &["Timestamp", "TraceId", "SpanId", "SpanName"]);
    let url = format!("--clickhouse-url={}", far.server.url());
    let names = "--clickhouse-tables=traces=spans_of_ours";
    let keeping = collector(&[&url, names, "--clickhouse-schema=keep"]).await;
    send(&keeping, 0..2).await;
    eventually("rows arrive", async || far.rows("spans_of_ours") == 2).await;
    assert_eq!(far.statements(), Vec::<String>::new());
    keeping.stopped().await;

    let adapting = collector(&[&url, names]).await;
    send(&adapting, 2..4).await;
    eventually("rows arrive", async || far.rows("spans_of_ours") == 4).await;
    let made = far.statements().join("\n");
    assert!(made.contains("ADD COLUMN IF NOT EXISTS `SpanAttributes`") && made.contains("MODIFY SETTING"), "{made}");
    assert!(!made.contains("CREATE"), "{made}");
    adapting.stopped().await;
}

#[tokio::test]
async fn a_dead_sink_is_in_nobodys_way_and_goes_on_after_a_restart() {
    let other = FarEnd::start(|_, _| answer(200, "")).await;
    let out = format!("--otlp-out-url={}", other.url());
    let collector = collector(&["--clickhouse-url=http://127.0.0.1:1", &out, "--otlp-out-protocol=http"]).await;
    send(&collector, 0..5).await;
    drained(&collector, "otlp").await;
    eventually("it is told", async || state(&collector, "clickhouse").await["state"] == "fails").await;
    assert_eq!(state(&collector, "clickhouse").await["lag"]["rows"], 5);
    let metrics =
        String::from_utf8(request(collector.http, "GET", "/metrics", &[], b"").await.body).expect("it is text");
    for sample in [
        r#"faultline_collector_sink_lag_rows{sink_name="clickhouse",otlp_signal="traces"} 5"#,
        r#"faultline_collector_sink_lag_rows{sink_name="otlp",otlp_signal="traces"} 0"#,
        r#"faultline_collector_sink_rows_total{sink_name="otlp",otlp_signal="traces",outcome="delivered"} 5"#,
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in {metrics}");
    }
    assert_eq!(collector.count(Table::Spans).await, 5);
    let data = collector.stopped().await;

    let far = FakeClickHouse::start().await;
    let url = format!("--clickhouse-url={}", far.server.url());
    let collector = TestCollector::within(data, &[&AT_ONCE[..], &[url.as_str()]].concat()).await;
    send(&collector, 5..6).await;
    eventually("what waited arrives too", async || far.rows("otel_traces") == 6).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_read_stops_its_sink_and_nothing_else() {
    let far = FakeClickHouse::start().await;
    let url = format!("--clickhouse-url={}", far.server.url());
    let data = collector(&[&url]).await.stopped().await;
    let file = data.path().join("telemetry/cursors/clickhouse.traces.json");
    std::fs::write(&file, b"{").expect("the folder is there");
    let collector = TestCollector::within(data, &[&AT_ONCE[..], &[url.as_str()]].concat()).await;
    send(&collector, 0..3).await;
    let state = state(&collector, "clickhouse").await;
    assert_eq!(state["state"], "rests");
    assert!(state["reason"].as_str().is_some_and(|reason| reason.contains("clickhouse.traces.json")), "{state}");
    assert_eq!(collector.count(Table::Spans).await, 3);
    collector.stopped().await;
}

/// Spans in the requests that `answer` took, by how it answered each.
async fn otlp_over_http(
    settings: &[&str],
    answers: impl Fn(usize) -> (u16, Vec<u8>) + Clone + Send + Sync + 'static,
) -> (Vec<usize>, serde_json::Value) {
    let far = FarEnd::start(move |_, before| {
        let (status, body) = answers(before);
        let mut answer = answer(status, body);
        answer.headers_mut().insert("retry-after", "0".parse().expect("a number"));
        answer
    })
    .await;
    let url = format!("--otlp-out-url={}/", far.url());
    let collector = collector(&[&[url.as_str(), "--otlp-out-protocol=http"], settings].concat()).await;
    send(&collector, 0..10).await;
    drained(&collector, "otlp").await;
    let spans = far.asked().iter().map(spans).collect();
    let state = state(&collector, "otlp").await;
    collector.stopped().await;
    (spans, state)
}

fn spans(asked: &Asked) -> usize {
    assert_eq!(asked.path, "/v1/traces");
    assert_eq!(asked.headers["content-type"], "application/x-protobuf");
    let mut body = asked.body.to_vec();
    if asked.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        body.clear();
        let mut inflated = flate2::read::GzDecoder::new(&asked.body[..]);
        std::io::Read::read_to_end(&mut inflated, &mut body).expect("it is gzip");
    }
    let batches = model::decode_protobuf(Signal::Traces, &body).expect("it is OTLP").batches;
    batches.iter().map(model::Batch::num_rows).sum()
}

#[tokio::test]
async fn otlp_over_http_is_compressed_and_cut_to_size() {
    let (requests, state) = otlp_over_http(&["--otlp-out-rows-max=4"], |_| (200, Vec::new())).await;
    assert_eq!(requests, [4, 4, 2]);
    assert_eq!((&state["rows_delivered"], &state["failures"]), (&10.into(), &0.into()));
    let (requests, _) = otlp_over_http(&["--otlp-out-compression=none"], |_| (200, Vec::new())).await;
    assert_eq!(requests, [10]);
}

#[tokio::test]
async fn a_receiver_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = |before| (if before < 2 { 503 } else { 200 }, Vec::new());
    let (requests, state) = otlp_over_http(&[], busy).await;
    assert_eq!(requests, [10, 10, 10]);
    assert_eq!(
        (&state["rows_delivered"], &state["failures"], &state["rows_refused"]),
        (&10.into(), &2.into(), &0.into())
    );

    let (requests, state) = otlp_over_http(&[], |_| (400, Vec::new())).await;
    assert_eq!(requests, [10]);
    assert_eq!((&state["rows_delivered"], &state["rows_refused"]), (&0.into(), &10.into()));
}

#[tokio::test]
async fn a_partial_success_is_counted_and_not_sent_again() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".into() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (requests, state) = otlp_over_http(&[], move |_| (200, body.clone())).await;
    assert_eq!(requests, [10]);
    assert_eq!((&state["rows_delivered"], &state["rows_refused"]), (&7.into(), &3.into()));
}

#[tokio::test]
async fn what_was_taken_does_not_go_out_again_after_a_restart() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let far = FarEnd::start(move |asked, _| {
        counted.fetch_add(spans(asked), Relaxed);
        answer(200, "")
    })
    .await;
    let url = format!("--otlp-out-url={}", far.url());
    let settings = [&AT_ONCE[..], &[url.as_str(), "--otlp-out-protocol=http"]].concat();
    let mut data = tempfile::tempdir().expect("a temporary folder");
    for round in 0..3_u64 {
        let collector = TestCollector::within(data, &settings).await;
        send(&collector, round * 4..round * 4 + 4).await;
        drained(&collector, "otlp").await;
        data = collector.stopped().await;
    }
    assert_eq!(requests.load(Relaxed), 12);
}

#[tokio::test]
async fn otlp_over_grpc_reaches_another_collector() {
    let far = TestCollector::start().await;
    let near = collector(&[&format!("--otlp-out-url=http://{}", far.grpc)]).await;
    send(&near, 0..50).await;
    eventually("every span arrives", async || far.count(Table::Spans).await == 50).await;
    drained(&near, "otlp").await;
    near.stopped().await;
    far.stopped().await;
}

#[tokio::test]
async fn grpc_waits_for_a_receiver_that_is_full() {
    // It refuses everything, with RetryInfo.
    let full = TestCollector::with(&["--unwritten-bytes-max=8", "--otlp-retry-seconds=1"]).await;
    let near = collector(&[&format!("--otlp-out-url=http://{}", full.grpc)]).await;
    send(&near, 0..5).await;
    eventually("it is told", async || state(&near, "otlp").await["state"] == "fails").await;
    let state = state(&near, "otlp").await;
    assert_eq!((&state["rows_refused"], &state["lag"]["rows"]), (&0.into(), &5.into()));
    assert!(state["reason"].as_str().is_some_and(|reason| reason.contains("Unavailable")), "{state}");
    near.stopped().await;
    full.stopped().await;
}

#[tokio::test]
async fn a_kafka_that_is_not_there_is_waited_for() {
    let other = FarEnd::start(|_, _| answer(200, "")).await;
    let out = format!("--otlp-out-url={}", other.url());
    let nobody = "--kafka-out-servers=127.0.0.1:1";
    let collector = collector(&[nobody, "--sink-timeout-seconds=1", &out, "--otlp-out-protocol=http"]).await;
    send(&collector, 0..5).await;
    drained(&collector, "otlp").await;
    eventually("it is told", async || state(&collector, "kafka").await["state"] == "fails").await;
    let state = state(&collector, "kafka").await;
    assert_eq!((&state["rows_refused"], &state["lag"]["rows"]), (&0.into(), &5.into()), "{state}");
    collector.stopped().await;
}

#[tokio::test]
async fn a_collector_does_not_send_to_itself() {
    let port = {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        taken.local_addr().expect("it is bound").port()
    };
    let data = tempfile::tempdir().expect("a temporary folder");
    let out = format!("--otlp-out-url=http://127.0.0.1:{port}/");
    let mut args = crate::harness::args(data.path(), &[&out]);
    args.otlp_http = ([127, 0, 0, 1], port).into();
    let error = collector::Server::bind(args).await.err().expect("it is refused").to_string();
    assert!(error.contains("is this collector"), "{error}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_told_at_the_start() {
    for settings in [
        &["--clickhouse-url=ftp://x"][..],
        &["--clickhouse-url=http://x", "--clickhouse-database=a b"],
        &["--clickhouse-url=http://x", "--clickhouse-tables=spans=x"],
        &["--otlp-out-url=ftp://x"],
        &["--otlp-out-url=https://x", "--sink-certificate=/nowhere.pem"],
        &["--clickhouse-url=https://x", "--sink-client-key=/nowhere.pem"],
        &["--otlp-out-url=http://x", "--otlp-out-headers=hush"],
        &["--kafka-out-servers=x:1", "--kafka-out-topics=spans=x"],
        &["--s3-out-url=bucket/prefix"],
        &["--s3-out-url=s3://bucket", "--s3-out-secret-access-key=hush"],
    ] {
        let data = tempfile::tempdir().expect("a temporary folder");
        let error = collector::Server::bind(crate::harness::args(data.path(), settings)).await.err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("{settings:?} was accepted")));
        assert!(error.contains("sink make no sense") && !error.contains("hush"), "{error}");
    }
}
