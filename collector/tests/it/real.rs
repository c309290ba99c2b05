//! The same sinks against the real far ends, which `deploy/testbed` starts and names in variables: without one its test cannot be
//! run, so they are asked for by `--ignored`.
//!
//! `deploy/testbed/kafka deploy/testbed/clickhouse deploy/testbed/s3 deploy/testbed/otelcol cargo test -p collector -- --ignored real`

mod reference;
mod s3;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use model::{Batch, Signal, Table};
use prost::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::task::JoinSet;

use crate::far_end::Way;
use crate::harness::{TestCollector, eventually, now_ns, post, recent_span, request, traces, within};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const PATIENCE: Duration = Duration::from_secs(120);

fn clickhouse() -> String {
    std::env::var("FAULTLINE_TEST_CLICKHOUSE_URL")
        .expect("run this by deploy/testbed/clickhouse, which sets the address")
}

fn kafka() -> String {
    std::env::var("FAULTLINE_TEST_BOOTSTRAP_SERVERS").expect("run this by deploy/testbed/kafka, which sets the address")
}

/// A topic of one partition that nobody had before.
async fn topic(servers: &str) -> String {
    let topic = format!("otlp_spans_{}", now_ns());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let made = admin
        .create_topics(&[NewTopic::new(&topic, 1, TopicReplication::Fixed(1))], &AdminOptions::new())
        .await
        .expect("the broker answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    topic
}

#[tokio::test]
#[ignore = "needs Apache Kafka: deploy/testbed/kafka runs it"]
async fn kafka_gets_every_span_as_otlp() {
    let servers = kafka();
    let topic = topic(&servers).await;
    let settings = [
        format!("--kafka-out-servers={servers}"),
        format!("--kafka-out-topics=traces={topic}"),
        "--kafka-out-rows-max=7".to_owned(),
    ];
    let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
    let body = traces((0..50).map(recent_span).collect()).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    let messages = tokio::task::spawn_blocking(move || read(&servers, &topic)).await.expect("it reads");
    assert!(messages.len() >= 8 && messages.iter().all(|spans| spans.len() <= 7), "{messages:?}");
    assert_eq!(messages.concat(), (0..50).collect::<Vec<_>>());
    collector.stopped().await;
}

#[tokio::test]
#[ignore = "needs Apache Kafka: deploy/testbed/kafka runs it"]
async fn kafka_lets_in_who_has_the_password_in_both_directions() {
    let given = |name: &str| std::env::var(name).expect("deploy/testbed/kafka sets it");
    let (servers, config) = (given("FAULTLINE_TEST_KAFKA_SASL_SERVERS"), given("FAULTLINE_TEST_KAFKA_SASL_CONFIG"));
    let topic = topic(&kafka()).await;
    let out = |config: &str| {
        vec![
            format!("--kafka-out-servers={servers}"),
            format!("--kafka-out-topics=traces={topic}"),
            format!("--kafka-out-config={config}"),
            "--sink-timeout-seconds=5".to_owned(),
        ]
    };
    let started = async |settings: Vec<String>| {
        TestCollector::with(&settings.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong = folder.path().join("wrong.properties");
    let settings = std::fs::read_to_string(&config).expect("the testbed wrote it");
    std::fs::write(&wrong, settings.replace("let me in", "please")).expect("it can be written");

    let sender = started(out(&config)).await;
    let stranger = started(out(wrong.to_str().expect("a plain name"))).await;
    let receiver = started(vec![
        format!("--kafka-in-servers={servers}"),
        format!("--kafka-in-config={config}"),
        format!("--kafka-in-topics=traces={topic},logs=,metrics="),
        format!("--kafka-in-group={topic}"),
    ])
    .await;
    let body = traces((0..50).map(recent_span).collect()).encode_to_vec();
    for collector in [&stranger, &sender] {
        assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    }
    within(PATIENCE, "they are read", async || receiver.count(Table::Spans).await == 50).await;
    within(PATIENCE, "the stranger hears why", async || {
        stranger.health().await.1["sinks"].to_string().contains("Authentication failed")
    })
    .await;
    assert_eq!(receiver.count(Table::Spans).await, 50, "of the stranger there is nothing");
    for collector in [sender, stranger, receiver] {
        collector.stopped().await;
    }
}

/// Numbers of the spans of each message that the topic has once a message has come and no more follow.
fn read(servers: &str, topic: &str) -> Vec<Vec<u64>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", topic)
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&list).expect("it is assigned");
    let (start, mut messages) = (Instant::now(), Vec::new());
    loop {
        assert!(start.elapsed() < PATIENCE, "{} messages", messages.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => messages.push(numbers(message.payload().expect("a request"))),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) if !messages.is_empty() => return messages,
            _ => {}
        }
    }
}

fn numbers(request: &[u8]) -> Vec<u64> {
    let request = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(request);
    let scopes = request.expect("it is OTLP").resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let ids = scopes.flat_map(|scope| scope.spans).map(|span| span.span_id);
    ids.map(|id| u64::from_be_bytes(id.try_into().expect("eight bytes")) - 1).collect()
}

/// Asks a database there.
struct Asking {
    client: clickhouse::Client,
    database: String,
}

impl Asking {
    /// Nobody had this database before.
    fn a_new_database() -> Asking {
        let client = clickhouse::Client::default().with_url(clickhouse());
        let client = client.with_compression(clickhouse::Compression::None);
        Asking { client, database: format!("test_{}", now_ns()) }
    }

    /// Of its tables; none until there is such a table.
    async fn ask(&self, sql: &str) -> Option<String> {
        self.ask_any(&sql.replace("FROM ", &format!("FROM {}.", self.database))).await
    }

    async fn ask_any(&self, sql: &str) -> Option<String> {
        let mut cursor = self.client.query(sql).fetch_bytes("TabSeparatedRaw").ok()?;
        let answer = cursor.collect().await.ok()?;
        Some(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }
}

/// What senders did while a far end was there, or while it was away.
#[derive(Default)]
struct Load {
    next: AtomicU64,
    ended: AtomicBool,
    answers_us: std::sync::Mutex<Vec<u64>>,
}

const SPANS_A_REQUEST: u64 = 50;
const SENDERS: usize = 4;

impl Load {
    fn start(to: SocketAddr) -> (Arc<Load>, JoinSet<()>) {
        let load = Arc::new(Load::default());
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let load = Arc::clone(&load);
            senders.spawn(async move {
                while !load.ended.load(Relaxed) {
                    let first = load.next.fetch_add(SPANS_A_REQUEST, Relaxed);
                    let body = traces((first..first + SPANS_A_REQUEST).map(recent_span).collect()).encode_to_vec();
                    let start = Instant::now();
                    assert_eq!(post(to, "/v1/traces", &PROTOBUF, &body).await.status, 200, "nothing is refused");
                    load.answers_us.lock().expect("no panic").push(start.elapsed().as_micros() as u64);
                }
            });
        }
        (load, senders)
    }

    fn sent(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// Since it was asked last: how many requests, and how long half of them, and 99 of 100, took.
    fn lap(&self, what: &str) -> u64 {
        let mut answers = std::mem::take(&mut *self.answers_us.lock().expect("no panic"));
        answers.sort_unstable();
        let at = |share: usize| answers.get(answers.len() * share / 100).copied().unwrap_or(0);
        println!("{what}: {} requests, p50 {} us, p99 {} us", answers.len(), at(50), at(99));
        at(50)
    }
}

/// How long a far end stays away.
fn away_seconds() -> u64 {
    std::env::var("FAULTLINE_TEST_AWAY_SECONDS").map_or(10, |text| text.parse().expect("seconds"))
}

/// ClickHouse is away for a while, then every call to it is cut off again and again, all under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ClickHouse and Apache Kafka: deploy/testbed/clickhouse and deploy/testbed/kafka run it"]
async fn a_far_end_that_is_away_under_load_costs_nobody_anything_and_gets_everything_once() {
    let away = away_seconds();
    let there = Asking::a_new_database();
    let servers = kafka();
    let topic = topic(&servers).await;
    let way = Way::to(clickhouse().trim_start_matches("http://").parse().expect("numbers")).await;
    let other = TestCollector::start().await;
    let settings = [
        format!("--clickhouse-url=http://{}", way.address),
        format!("--clickhouse-database={}", there.database),
        "--clickhouse-wait-max-ms=100".to_owned(),
        format!("--kafka-out-servers={servers}"),
        format!("--kafka-out-topics=traces={topic}"),
        format!("--otlp-out-url=http://{}", other.grpc),
        "--sink-retry-min-ms=20".to_owned(),
        "--sink-retry-max-ms=1000".to_owned(),
        // Segments are compacted while ClickHouse is away, and stay for it.
        "--segment-age-max-ms=1000".to_owned(),
    ];
    let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
    let (load, mut senders) = Load::start(collector.http);

    eventually("it flows", async || sink(&collector, "clickhouse").await["rows_delivered"].as_u64() > Some(5_000))
        .await;
    let with = load.lap("ClickHouse is there");

    way.close();
    let (closed, sent) = (Instant::now(), load.sent());
    eventually("it is told", async || sink(&collector, "clickhouse").await["state"] == "fails").await;
    while closed.elapsed() < Duration::from_secs(away) {
        for of in ["otlp", "kafka"] {
            let target = load.sent();
            eventually("the others go on", async || taken(&collector, of, target).await).await;
        }
        tokio::task::yield_now().await;
    }
    assert!(load.sent() > sent, "the load goes on");
    let without = load.lap("ClickHouse is away");
    let lag = sink(&collector, "clickhouse").await["lag"].clone();
    println!("after {away} s: {lag}");
    assert!(lag["rows"].as_u64() >= Some(load.sent().saturating_sub(sent) / 2), "{lag}");
    assert!(without <= 3 * with, "receiving takes {without} us while a sink is away, {with} us while it is not");

    let opened = Instant::now();
    way.open();
    let mut cuts = tokio::time::interval(Duration::from_millis(150));
    for _ in 0..40 {
        cuts.tick().await;
        way.cut();
    }
    load.lap("ClickHouse is cut off 40 times");
    load.ended.store(true, Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.expect("every request was answered");
    }
    let sent = load.sent();
    for of in ["clickhouse", "otlp", "kafka"] {
        // As long as it took to gather, and then some: this may be a debug build on a busy machine.
        let patience = Duration::from_secs(away) + PATIENCE;
        within(patience, of, async || taken(&collector, of, sent).await).await;
        let state = sink(&collector, of).await;
        assert_eq!((&state["rows_delivered"], &state["rows_refused"]), (&sent.into(), &0.into()), "{state}");
    }
    println!("caught up {:?} after it came back: {sent} spans", opened.elapsed());
    println!("{} attempts failed", sink(&collector, "clickhouse").await["failures"]);

    let counted = there.ask("SELECT count(), uniqExact(SpanId) FROM otel_traces").await.expect("it is there");
    assert_eq!(counted, format!("{sent}\t{sent}"), "every span, and none twice");
    let looked_up = there.ask("SELECT count(), uniqExact(TraceId) FROM otel_traces_trace_id_ts").await;
    assert_eq!(looked_up, Some(counted), "a view behind the table gets every insert once too");
    let mut messages = tokio::task::spawn_blocking(move || read(&servers, &topic)).await.expect("it reads").concat();
    messages.sort_unstable();
    assert!(messages.into_iter().eq(0..sent), "every span once in Kafka");
    assert_eq!(received(&other).await, sent, "every span once at the other collector");
    collector.stopped().await;
    other.stopped().await;
}

async fn sink(collector: &TestCollector, name: &str) -> serde_json::Value {
    let (code, health) = collector.health().await;
    assert_eq!(code, 200, "a sink never makes the collector unwell");
    let sinks = health["sinks"].as_array().expect("a list").clone();
    let wanted = |entry: &serde_json::Value| entry["sink"] == name && entry["signal"] == "traces";
    sinks.into_iter().find(wanted).expect("the sink is set")
}

/// Spans that it made durable since its start.
async fn received(collector: &TestCollector) -> u64 {
    let metrics = request(collector.http, "GET", "/metrics", &[], b"").await.body;
    let series = r#"faultline_collector_items_total{otlp_signal="traces",outcome="accepted"} "#;
    let metrics = String::from_utf8(metrics).expect("it is text");
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)).expect("it is counted");
    value.parse().expect("a number")
}

/// Whether the sink has these many spans, the first being the first that were sent.
async fn taken(collector: &TestCollector, name: &str, spans: u64) -> bool {
    sink(collector, name).await["rows_delivered"].as_u64() >= Some(spans)
}

/// What the OpenTelemetry Collector got from us, and wrote to a file, is what we have: every field of every row.
#[tokio::test]
#[ignore = "needs the OpenTelemetry Collector: deploy/testbed/otelcol runs it"]
async fn the_opentelemetry_collector_gets_what_we_have() {
    for (protocol, way) in [("grpc", 0), ("http", 1)] {
        let far = OpenTelemetryCollector::start("file", r#"path: "$folder/out.json", flush_interval: 10ms"#).await;
        let settings = [
            format!("--otlp-out-url=http://{}", far.addresses[way]),
            format!("--otlp-out-protocol={protocol}"),
            "--otlp-out-wait-max-ms=1".to_owned(),
        ];
        let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
        for (path, body) in requests(now_ns()).into_iter().chain(examples(now_ns())) {
            assert_eq!(post(collector.http, path, &JSON, body.as_bytes()).await.status, 200, "{body}");
        }
        for signal in Signal::ALL {
            for table in signal.tables() {
                let ours = model::concat(*table, &collector.rows(*table).await).expect("rows of a table");
                assert!(ours.num_rows() > 0);
                let all = async || far.rows(*table).is_some_and(|theirs| theirs.num_rows() >= ours.num_rows());
                eventually(&format!("{} arrive over {protocol}", table.name()), all).await;
                assert_eq!(far.rows(*table), Some(ours), "{} over {protocol}", table.name());
            }
        }
        collector.stopped().await;
    }
}

/// The specification's examples, as if of now.
fn examples(now: u64) -> [(&'static str, String); 3] {
    let recent = &now.to_string()[..8];
    let example = |text: &str| text.replace("15447126", recent);
    [
        ("/v1/traces", example(include_str!("../otlp-examples/trace.json"))),
        ("/v1/logs", example(include_str!("../otlp-examples/logs.json"))),
        ("/v1/metrics", example(include_str!("../otlp-examples/metrics.json"))),
    ]
}

/// Some version of it, which hands on what it gets at once.
struct OpenTelemetryCollector {
    /// Of OTLP/gRPC and of OTLP/HTTP.
    addresses: [SocketAddr; 2],
    process: std::process::Child,
    folder: tempfile::TempDir,
}

impl OpenTelemetryCollector {
    /// With one exporter, named with its settings; `$folder` in them is a folder of its own.
    async fn start(exporter: &str, settings: &str) -> OpenTelemetryCollector {
        let program =
            std::env::var("FAULTLINE_TEST_OTELCOL").expect("run this by deploy/testbed/otelcol, which sets the path");
        // It cannot be asked which ports it took.
        let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addresses = [free(), free()].map(|taken| taken.local_addr().expect("it is bound"));
        let [grpc, http] = addresses;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings.replace("$folder", &folder.path().display().to_string());
        let config = format!(
            r#"
            receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "{grpc}"}}, http: {{endpoint: "{http}"}}}}}}}}
            exporters: {{{exporter}: {{{settings}}}}}
            service:
                telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
                pipelines:
                    traces: {{receivers: [otlp], exporters: [{exporter}]}}
                    logs: {{receivers: [otlp], exporters: [{exporter}]}}
                    metrics: {{receivers: [otlp], exporters: [{exporter}]}}
            "#,
        );
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, config).expect("the folder is there");
        let process = std::process::Command::new(program).arg("--config").arg(&path).spawn().expect("it starts");
        let mut collector = OpenTelemetryCollector { addresses, process, folder };
        for address in addresses {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                let ended = collector.process.try_wait().expect("it is ours");
                assert!(ended.is_none(), "it ended before it listened: {ended:?}");
                tokio::task::yield_now().await;
            }
        }
        collector
    }

    /// What its file, lines of OTLP/JSON, has of a table; none while there is nothing, or half a line.
    fn rows(&self, table: Table) -> Option<RecordBatch> {
        let text = std::fs::read_to_string(self.folder.path().join("out.json")).ok()?;
        // It makes buckets that are not there into buckets that are empty.
        let text = text.replace(r#","negative":{}"#, "");
        let mut parts = Vec::new();
        for line in text.lines() {
            let signal = match line.get(..14)? {
                r#"{"resourceSpan"# => Signal::Traces,
                r#"{"resourceLogs"# => Signal::Logs,
                _ => Signal::Metrics,
            };
            let batches = model::decode_json(signal, line.as_bytes()).ok()?.batches;
            parts.extend(batches.into_iter().filter(|batch| batch.table() == table).map(Batch::into_rows));
        }
        model::concat(table, &parts).ok()
    }
}

impl Drop for OpenTelemetryCollector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs ClickHouse: deploy/testbed/clickhouse runs it"]
async fn clickhouse_takes_every_signal_and_answers_as_dashboards_ask() {
    let there = Asking::a_new_database();
    let settings = [
        format!("--clickhouse-url={}", clickhouse()),
        format!("--clickhouse-database={}", there.database),
        "--clickhouse-wait-max-ms=1".to_owned(),
        "--sink-retry-min-ms=50".to_owned(),
    ];
    let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
    let now = now_ns();
    for (path, body) in requests(now) {
        assert_eq!(post(collector.http, path, &JSON, body.as_bytes()).await.status, 200, "{body}");
    }
    let expected = [
        (
            "SELECT count(), any(TraceId), any(SpanKind), any(Duration) FROM otel_traces",
            "1\t0102030405060708090a0b0c0d0e0f10\tServer\t7",
        ),
        ("SELECT `Events.Name`, `Events.Attributes`[1]['k'], SpanAttributes['b'] FROM otel_traces", "['e1']\ttrue\t2"),
        ("SELECT toString(mapKeys(SpanAttributes)) FROM otel_traces", "['a','b']"),
        ("SELECT count() FROM otel_traces_trace_id_ts", "1"),
        ("SELECT Body, SeverityNumber, LogAttributes['x'], ServiceName FROM otel_logs", "hello\t9\t1\tshop"),
        ("SELECT MetricName, Value, ValueInt FROM otel_metrics_gauge", "g\t3\t3"),
        ("SELECT Value, AggregationTemporality, IsMonotonic FROM otel_metrics_sum", "1.5\t2\ttrue"),
        (
            "SELECT Count, Sum, BucketCounts, ExplicitBounds, Min, RecordedMin FROM otel_metrics_histogram",
            "3\t6\t[1,2]\t[2]\t0\t\\N",
        ),
        ("SELECT Scale, PositiveOffset, PositiveBucketCounts FROM otel_metrics_exponential_histogram", "1\t2\t[4]"),
        ("SELECT `ValueAtQuantiles.Value` FROM otel_metrics_summary", "[8]"),
    ];
    for (sql, answer) in expected {
        eventually(sql, async || there.ask(sql).await.as_deref() == Some(answer)).await;
    }
    collector.stopped().await;
}

/// One row for each table.
pub(crate) fn requests(now: u64) -> [(&'static str, String); 3] {
    let resource = r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}"#;
    let then = now + 7;
    let spans = format!(
        r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{{"traceId":"0102030405060708090a0b0c0d0e0f10",
        "spanId":"0102030405060708","name":"pay","kind":2,"startTimeUnixNano":"{now}","endTimeUnixNano":"{then}",
        "attributes":[{{"key":"b","value":{{"intValue":"2"}}}},{{"key":"a","value":{{"stringValue":"1"}}}}],
        "events":[{{"name":"e1","timeUnixNano":"{now}","attributes":[{{"key":"k","value":{{"boolValue":true}}}}]}}]}}]}}]}}]}}"#
    );
    let logs = format!(
        r#"{{"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{now}","severityNumber":9,
        "body":{{"stringValue":"hello"}},"attributes":[{{"key":"x","value":{{"intValue":"1"}}}}]}}]}}]}}]}}"#
    );
    let metrics = format!(
        r#"{{"resourceMetrics":[{{{resource},"scopeMetrics":[{{"metrics":[
        {{"name":"g","gauge":{{"dataPoints":[{{"asInt":"3","timeUnixNano":"{now}"}}]}}}},
        {{"name":"s","sum":{{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{{"asDouble":1.5,"timeUnixNano":"{now}"}}]}}}},
        {{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"count":"3","sum":6,"bucketCounts":["1","2"],
            "explicitBounds":[2],"timeUnixNano":"{now}"}}]}}}},
        {{"name":"e","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"count":"4","scale":1,
            "positive":{{"offset":2,"bucketCounts":["4"]}},"timeUnixNano":"{now}"}}]}}}},
        {{"name":"q","summary":{{"dataPoints":[{{"count":"1","sum":8,"quantileValues":[{{"quantile":0.5,"value":8}}],
            "timeUnixNano":"{now}"}}]}}}}]}}]}}]}}"#
    );
    [("/v1/traces", spans), ("/v1/logs", logs), ("/v1/metrics", metrics)]
}
