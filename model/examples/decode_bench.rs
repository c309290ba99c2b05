//! How long one core takes to turn records from wire bytes into Arrow.
//!
//! `cargo run -p model --release --example decode_bench [seconds]` (`--profile dist` for the figures of a release). The shapes: 1000 records
//! a request from one resource of five attributes; spans of 459 bytes and ten attributes, two of them integers; log records of 300
//! bytes and six attributes; points of one gauge with five attributes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{Signal, decode_protobuf};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const RECORDS: u64 = 1000;
const SPAN_BYTES: usize = 459;
const LOG_BYTES: usize = 300;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let spans: Vec<Span> = (0..RECORDS).map(span).collect();
    measure("span", Signal::Traces, bytes_of(&spans), &traces(spans).encode_to_vec(), seconds);
    let records: Vec<LogRecord> = (0..RECORDS).map(log).collect();
    measure("log record", Signal::Logs, bytes_of(&records), &logs(records).encode_to_vec(), seconds);
    let points: Vec<NumberDataPoint> = (0..RECORDS).map(point).collect();
    measure("number point", Signal::Metrics, bytes_of(&points), &metrics(points).encode_to_vec(), seconds);
}

fn bytes_of(records: &[impl Message]) -> usize {
    records.iter().map(Message::encoded_len).sum::<usize>() / records.len()
}

fn measure(name: &str, signal: Signal, bytes: usize, body: &[u8], seconds: u64) {
    let (start, mut requests, mut best) = (Instant::now(), 0u32, Duration::MAX);
    while start.elapsed() < Duration::from_secs(seconds) {
        let request = Instant::now();
        let converted = decode_protobuf(signal, black_box(body)).expect("the request is well formed");
        assert_eq!(black_box(converted).batches[0].num_rows() as u64, RECORDS);
        best = best.min(request.elapsed());
        requests += 1;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / RECORDS as f64;
    let mean = each(start.elapsed() / requests);
    println!("{mean:.3} us a {name} of {bytes} bytes (mean of {requests} requests), {:.3} us at best", each(best));
}

fn resource() -> Option<Resource> {
    let keys = ["service.name", "service.version", "service.instance.id", "host.name", "telemetry.sdk.language"];
    let attributes = keys.iter().map(|key| attribute(key, text("0193e7a2-checkout"))).collect();
    Some(Resource { attributes, ..Default::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "bench".into(), version: "1.0".into(), ..Default::default() })
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..Default::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: resource(), scope_spans, ..Default::default() }],
    }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..Default::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, ..Default::default() }],
    }
}

fn metrics(data_points: Vec<NumberDataPoint>) -> ExportMetricsServiceRequest {
    let gauge = Some(Data::Gauge(Gauge { data_points }));
    let metric = Metric { name: "process.memory.usage".into(), unit: "By".into(), data: gauge, ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics: vec![metric], ..Default::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(), scope_metrics, ..Default::default() }],
    }
}

/// The last attribute pads each span to the same size.
fn span(index: u64) -> Span {
    let start = 1_760_000_000_000_000_000 + index * 1_000_003;
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut span = Span {
        trace_id: [mixed.to_be_bytes(), (!mixed).to_be_bytes()].concat(),
        span_id: mixed.to_be_bytes().to_vec(),
        parent_span_id: (mixed ^ 0xff00).to_be_bytes().to_vec(),
        name: format!("GET /v1/payments/{{id}} {}", index % 20),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 5_000_000 + index,
        flags: 0x101,
        status: Some(Status { code: if index.is_multiple_of(50) { 2 } else { 0 }, ..Default::default() }),
        attributes: vec![
            attribute("http.request.method", text("GET")),
            attribute("http.route", text("/v1/payments/{id}")),
            attribute("http.response.status_code", Value::IntValue(200)),
            attribute("url.scheme", text("http")),
            attribute("url.path", text(&format!("/v1/payments/{index:08}"))),
            attribute("server.address", text("127.0.0.1")),
            attribute("server.port", Value::IntValue(7001)),
            attribute("network.protocol.version", text("1.1")),
            attribute("user_agent.original", text("load/0.1")),
        ],
        ..Default::default()
    };
    let bare = span.encoded_len() + attribute("enduser.id", text("")).encoded_len() + 2;
    span.attributes.push(attribute("enduser.id", text(&"u".repeat(SPAN_BYTES.saturating_sub(bare)))));
    span
}

/// The body pads each record to the same size.
fn log(index: u64) -> LogRecord {
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let time = 1_760_000_000_000_000_000 + index * 1_000_003;
    let mut record = LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + 1_000,
        severity_number: 9,
        severity_text: "INFO".into(),
        trace_id: [mixed.to_be_bytes(), (!mixed).to_be_bytes()].concat(),
        span_id: mixed.to_be_bytes().to_vec(),
        attributes: vec![
            attribute("code.function.name", text("payments::capture")),
            attribute("code.line.number", Value::IntValue(212)),
            attribute("thread.name", text("tokio-rt-worker")),
            attribute("payment.id", text(&format!("{index:08}"))),
            attribute("payment.attempt", Value::IntValue(1)),
            attribute("currency", text("EUR")),
        ],
        ..Default::default()
    };
    let body = |length: usize| Some(AnyValue { value: Some(text(&"captured ".repeat(40)[..length])) });
    record.body = body(1);
    record.body = body(1 + LOG_BYTES.saturating_sub(record.encoded_len()));
    record
}

fn point(index: u64) -> NumberDataPoint {
    let time = 1_760_000_000_000_000_000 + index / 100 * 1_000_000_000;
    let state = if index.is_multiple_of(2) { "used" } else { "free" };
    NumberDataPoint {
        start_time_unix_nano: 1_760_000_000_000_000_000,
        time_unix_nano: time,
        attributes: vec![
            attribute("state", text(state)),
            attribute("host.name", text("node-17")),
            attribute("process.pid", Value::IntValue(4000 + (index % 100) as i64)),
            attribute("process.command", text("faultline")),
            attribute("pool", text("default")),
        ],
        value: Some(number_data_point::Value::AsInt((index * 4096) as i64)),
        ..Default::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.into())
}
