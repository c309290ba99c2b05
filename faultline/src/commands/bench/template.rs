//! One encoded request, and the places in its bytes that make every use of it another request.
//!
//! Marked values go through the real encoder and are then looked up in its output, so nothing here knows the wire format. A
//! patched value has the width of its mark: ids are bytes, times are `fixed64`, the id of a point is hex text.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode,
};
use prost::Message;

use super::Kind;

/// Spans of one trace: a root and its children.
const SPANS_A_TRACE: u64 = 10;

/// First bytes of every mark; no text below contains them.
const MARK: [u8; 4] = [0xfa, 0x17, 0x11, 0x4e];
const HEX_MARK: &str = "fa17114e";

#[derive(Clone)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) batch: u64,
    /// Names the run in `service.name`, so that SQL finds it and nothing else.
    pub(crate) service: String,
    run: u64,
    patches: Vec<Patch>,
}

#[derive(Clone, Copy, Debug)]
struct Patch {
    offset: usize,
    field: Field,
    /// Which record of the batch.
    item: u32,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    TraceId = 1,
    SpanId = 2,
    ParentId = 3,
    Start = 4,
    End = 5,
    HexId = 6,
}

impl Template {
    pub(crate) fn new(kind: Kind, batch: u32, run: u64) -> Template {
        let service = format!("bench-{run:016x}");
        let bytes = match kind {
            Kind::Traces => traces(&service, batch).encode_to_vec(),
            Kind::Logs => logs(&service, batch).encode_to_vec(),
            Kind::Metrics => metrics(&service, batch).encode_to_vec(),
        };
        let patches = find_marks(&bytes);
        Template { kind, bytes, batch: u64::from(batch), service, run, patches }
    }

    /// Bytes a record, its share of resource and scope included.
    pub(crate) fn item_bytes(&self) -> f64 {
        self.bytes.len() as f64 / self.batch as f64
    }

    /// Makes `bytes`, a copy of the template, request number `request` of the run, happening at `now_ns`.
    pub(crate) fn stamp(&self, bytes: &mut [u8], request: u64, now_ns: u64) {
        let first = request * self.batch;
        for &Patch { offset, field, item } in &self.patches {
            let number = first + u64::from(item);
            let started = now_ns + u64::from(item);
            let trace = number - u64::from(item) % SPANS_A_TRACE;
            match field {
                Field::TraceId => {
                    put(bytes, offset, &self.id(trace).to_be_bytes());
                    put(bytes, offset + 8, &self.id(!trace).to_be_bytes());
                }
                Field::SpanId => put(bytes, offset, &self.id(number).to_be_bytes()),
                Field::ParentId => put(bytes, offset, &self.id(trace).to_be_bytes()),
                Field::Start => put(bytes, offset, &started.to_le_bytes()),
                Field::End => put(bytes, offset, &(started + 1_000_000 + number % 997 * 10_000).to_le_bytes()),
                Field::HexId => put(bytes, offset, format!("{:016x}", self.id(number)).as_bytes()),
            }
        }
    }

    /// Different for every number of a run, spread like random ids are, never zero in practice.
    fn id(&self, number: u64) -> u64 {
        // splitmix64's finalizer is a bijection: distinct numbers give distinct ids.
        let mut mixed = number ^ self.run;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

fn find_marks(bytes: &[u8]) -> Vec<Patch> {
    let mut patches = Vec::new();
    for offset in 0..bytes.len().saturating_sub(7) {
        let window = &bytes[offset..];
        if window.starts_with(&MARK) {
            let [field, a, b, c] = [window[4], window[5], window[6], window[7]];
            let field = match field {
                1 => Field::TraceId,
                2 => Field::SpanId,
                3 => Field::ParentId,
                4 => Field::Start,
                _ => Field::End,
            };
            patches.push(Patch { offset, field, item: u32::from_be_bytes([0, a, b, c]) });
        } else if window.starts_with(HEX_MARK.as_bytes()) {
            let text = std::str::from_utf8(&window[8..16]).unwrap_or_default();
            let item = u32::from_str_radix(text, 16).unwrap_or_default();
            patches.push(Patch { offset, field: Field::HexId, item });
        }
    }
    patches
}

fn mark(field: Field, item: u32) -> [u8; 8] {
    let [_, a, b, c] = item.to_be_bytes();
    [MARK[0], MARK[1], MARK[2], MARK[3], field as u8, a, b, c]
}

fn mark_id(field: Field, item: u32) -> Vec<u8> {
    mark(field, item).to_vec()
}

fn mark_trace(item: u32) -> Vec<u8> {
    [mark(Field::TraceId, item), [0; 8]].concat()
}

fn mark_time(field: Field, item: u32) -> u64 {
    u64::from_le_bytes(mark(field, item))
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn resource(service: &str) -> Option<Resource> {
    let attributes = vec![
        text("service.name", service),
        text("service.version", "1.4.2"),
        text("service.instance.id", "b1a9c7e2-5d0f-4a53-9c1e-1f2d3c4b5a69"),
        text("host.name", "node-7"),
    ];
    Some(Resource { attributes, ..Default::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "faultline.bench".to_owned(), version: "1".to_owned(), ..Default::default() })
}

const ROUTES: [&str; 5] = ["/v1/payments", "/v1/payments/{id}", "/v1/login", "/v1/profile", "/v1/payments/{id}/refund"];

fn traces(service: &str, batch: u32) -> ExportTraceServiceRequest {
    let spans = (0..batch).map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..Default::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: resource(service), scope_spans, ..Default::default() }],
    }
}

fn span(item: u32) -> Span {
    let (route, root) = (ROUTES[item as usize % ROUTES.len()], u64::from(item) % SPANS_A_TRACE == 0);
    let failed = item % 50 == 49;
    Span {
        trace_id: mark_trace(item),
        span_id: mark_id(Field::SpanId, item),
        parent_span_id: if root { Vec::new() } else { mark_id(Field::ParentId, item) },
        flags: 0x101,
        name: format!("POST {route}"),
        kind: if root { SpanKind::Server } else { SpanKind::Client } as i32,
        start_time_unix_nano: mark_time(Field::Start, item),
        end_time_unix_nano: mark_time(Field::End, item),
        attributes: vec![
            text("http.request.method", "POST"),
            text("http.route", route),
            int("http.response.status_code", if failed { 503 } else { 201 }),
            text("url.scheme", "http"),
            text("server.address", "core.payments.internal"),
            int("server.port", 7001),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", "faultline-load/1.0 (linux; x86_64) reqwest/0.12"),
            text("enduser.id", &format!("customer-{:08}-eu-west-1", item.wrapping_mul(2_654_435_761) % 100_000_000)),
            text("payment.currency", if item.is_multiple_of(3) { "EUR" } else { "USD" }),
        ],
        status: Some(Status {
            code: if failed { StatusCode::Error } else { StatusCode::Unset } as i32,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn logs(service: &str, batch: u32) -> ExportLogsServiceRequest {
    let log_records = (0..batch).map(log_record).collect();
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..Default::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(service), scope_logs, ..Default::default() }],
    }
}

fn log_record(item: u32) -> LogRecord {
    let user = item.wrapping_mul(2_654_435_761) % 100_000_000;
    let body =
        format!("payment of user-{user:08} was captured after {} ms by acquirer two at the first attempt", item % 400);
    LogRecord {
        time_unix_nano: mark_time(Field::Start, item),
        observed_time_unix_nano: mark_time(Field::End, item),
        severity_number: SeverityNumber::Info as i32,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![
            text("code.function.name", "core::payments::capture_card"),
            int("code.line.number", 187),
            text("thread.name", "tokio-runtime-worker"),
            text("payment.currency", if item.is_multiple_of(3) { "EUR" } else { "USD" }),
        ],
        flags: 1,
        trace_id: mark_trace(item),
        span_id: mark_id(Field::SpanId, item),
        ..Default::default()
    }
}

/// One gauge, each point its own series.
fn metrics(service: &str, batch: u32) -> ExportMetricsServiceRequest {
    let data_points = (0..batch).map(point).collect();
    let metric = Metric {
        name: "faultline.bench.queue.length".to_owned(),
        description: "Requests that wait".to_owned(),
        unit: "{request}".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points })),
        ..Default::default()
    };
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics: vec![metric], ..Default::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(service), scope_metrics, ..Default::default() }],
    }
}

fn point(item: u32) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: mark_time(Field::Start, item),
        attributes: vec![
            text("bench.point", &format!("{HEX_MARK}{item:08x}")),
            text("http.route", ROUTES[item as usize % ROUTES.len()]),
            text("server.address", "core.internal"),
            int("server.port", 7001),
            text("payment.currency", if item.is_multiple_of(3) { "EUR" } else { "USD" }),
        ],
        value: Some(number_data_point::Value::AsDouble(f64::from(item) * 0.25)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: u64 = 1_764_000_000_000_000_000;

    fn stamped(kind: Kind, requests: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        let template = Template::new(kind, 1000, 7);
        let stamp = |request| {
            let mut bytes = template.bytes.clone();
            template.stamp(&mut bytes, request, NOW);
            bytes
        };
        requests.map(stamp).collect()
    }

    #[test]
    fn records_have_the_advertised_size() {
        let size = |kind| Template::new(kind, 1000, 7).item_bytes().round();
        assert!((450.0..470.0).contains(&size(Kind::Traces)), "{} bytes a span", size(Kind::Traces));
        assert!((280.0..320.0).contains(&size(Kind::Logs)), "{} bytes a log record", size(Kind::Logs));
        assert!((150.0..210.0).contains(&size(Kind::Metrics)), "{} bytes a point", size(Kind::Metrics));
    }

    #[test]
    fn every_span_of_a_run_has_its_own_id_and_its_parent_is_in_its_trace() {
        let mut ids = HashSet::new();
        for bytes in stamped(Kind::Traces, 0..3) {
            let request = ExportTraceServiceRequest::decode(&bytes[..]).expect("patched bytes are still a request");
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            assert_eq!(spans.len(), 1000);
            for (item, span) in spans.iter().enumerate() {
                assert!(ids.insert(span.span_id.clone()), "a span id came twice");
                let root = &spans[item - item % SPANS_A_TRACE as usize];
                assert_eq!(span.trace_id, root.trace_id);
                let parent = if item % SPANS_A_TRACE as usize == 0 { &[][..] } else { &root.span_id[..] };
                assert_eq!(span.parent_span_id, parent);
                assert_eq!(span.start_time_unix_nano, NOW + item as u64);
                assert!(span.end_time_unix_nano > span.start_time_unix_nano);
                assert_eq!(span.attributes.len(), 10);
            }
        }
    }

    #[test]
    fn every_log_record_and_every_point_can_be_told_apart() {
        let mut ids = HashSet::new();
        for bytes in stamped(Kind::Logs, 0..2) {
            let request = ExportLogsServiceRequest::decode(&bytes[..]).expect("patched bytes are still a request");
            for record in &request.resource_logs[0].scope_logs[0].log_records {
                assert!(ids.insert(record.span_id.clone()));
            }
        }
        let mut points = HashSet::new();
        for bytes in stamped(Kind::Metrics, 0..2) {
            let request = ExportMetricsServiceRequest::decode(&bytes[..]).expect("patched bytes are still a request");
            let Some(metric::Data::Gauge(gauge)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
                panic!("a gauge was encoded")
            };
            for point in &gauge.data_points {
                let Some(Value::StringValue(id)) = point.attributes[0].value.clone().and_then(|value| value.value)
                else {
                    panic!("the id is text")
                };
                assert!(points.insert(id));
            }
        }
        assert_eq!((ids.len(), points.len()), (2000, 2000));
    }
}
