//! How long one core takes to turn spans from wire bytes into Arrow.
//!
//! `cargo run -p model --release --example decode_bench [seconds]` (`--profile dist` for the figures of a release). The shape: 1000 spans
//! a request from one resource of five attributes, 459 bytes and ten attributes each, two of them integers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{Signal, decode_protobuf};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const SPANS: usize = 1000;
const SPAN_BYTES: usize = 459;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let spans: Vec<Span> = (0..SPANS as u64).map(span).collect();
    let sizes = spans.iter().map(Message::encoded_len);
    println!("{SPANS} spans of {}..={} bytes", sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
    let body = request(spans).encode_to_vec();

    let (start, mut requests, mut best) = (Instant::now(), 0u32, Duration::MAX);
    while start.elapsed() < Duration::from_secs(seconds) {
        let request = Instant::now();
        let converted = decode_protobuf(Signal::Traces, black_box(&body)).expect("the request is well formed");
        assert_eq!(black_box(converted).batches[0].num_rows(), SPANS);
        best = best.min(request.elapsed());
        requests += 1;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / SPANS as f64;
    println!(
        "{:.3} us a span (mean of {requests} requests), {:.3} us at best",
        each(start.elapsed() / requests),
        each(best)
    );
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = ["service.name", "service.version", "service.instance.id", "host.name", "telemetry.sdk.language"];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.iter().map(|key| attribute(key, text("0193e7a2-checkout"))).collect(),
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: "bench".into(), version: "1.0".into(), ..Default::default() }),
                spans,
                ..Default::default()
            }],
            ..Default::default()
        }],
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

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.into())
}
