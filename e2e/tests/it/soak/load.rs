//! Requests of all three signals, each item of which can be told from every other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;

pub(crate) const ITEMS: u64 = 200;
const CLIENTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub(crate) const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    pub(crate) fn of(request: u64) -> Signal {
        Signal::ALL[(request % 3) as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }

    fn body(self, request: u64, time_ns: u64) -> Vec<u8> {
        match self {
            Signal::Traces => spans(request, time_ns).encode_to_vec(),
            Signal::Logs => logs(request, time_ns).encode_to_vec(),
            Signal::Metrics => points(request, time_ns).encode_to_vec(),
        }
    }
}

pub(crate) struct Load {
    clients: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// `items_per_second`: none for as many as are answered.
    pub(crate) fn start(http: String, ledger: &Arc<Ledger>, items_per_second: Option<f64>) -> Load {
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let pause = items_per_second.map(|rate| Duration::from_secs_f64((ITEMS * CLIENTS as u64) as f64 / rate));
            clients.spawn(client(http.clone(), Arc::clone(ledger), pause, stop.clone()));
        }
        Load { clients, stop }
    }

    /// Returns when every request has its answer, or will never have one.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
    }
}

/// A request that got no answer is never sent again: whether it was kept is for the store to say.
async fn client(http: String, ledger: Arc<Ledger>, pause: Option<Duration>, stop: CancellationToken) {
    let http_client = reqwest::Client::new();
    let mut due = Instant::now();
    while !stop.is_cancelled() {
        let request = ledger.next();
        let signal = Signal::of(request);
        let body = signal.body(request, ledger.time_ns(request));
        let sending = http_client
            .post(format!("{http}/v1/{}", signal.name()))
            .header("content-type", "application/x-protobuf")
            .body(body)
            .send();
        let answered = sending.await.is_ok_and(|response| response.status().is_success());
        ledger.note(request, answered);
        due = match pause {
            Some(pause) => due + pause,
            None => Instant::now(),
        };
        if !answered {
            // It is down, or full: what it missed is not made up for.
            due = due.max(Instant::now() + Duration::from_millis(100));
        }
        tokio::time::sleep_until(due.into()).await;
    }
}

fn attributes(request: u64, item: u64) -> Vec<KeyValue> {
    let attribute = |key: &str, value: Value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let text = |value: String| Value::StringValue(value);
    vec![
        attribute("request", text(request.to_string())),
        attribute("item", text(item.to_string())),
        attribute("http.request.method", text("POST".to_owned())),
        attribute("http.route", text(format!("/payments/{}", item % 7))),
        attribute("http.response.status_code", Value::IntValue(200 + (item % 3) as i64)),
    ]
}

fn resource() -> Option<Resource> {
    let value = Some(AnyValue { value: Some(Value::StringValue("soak".to_owned())) });
    let name = KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() };
    Some(Resource { attributes: vec![name], ..Resource::default() })
}

/// Never zero, and no two alike.
fn id(request: u64, item: u64) -> u64 {
    request * ITEMS + item + 1
}

fn spans(request: u64, time_ns: u64) -> ExportTraceServiceRequest {
    let span = |item| Span {
        trace_id: u128::from(id(request, item / 10 * 10)).to_be_bytes().to_vec(),
        span_id: id(request, item).to_be_bytes().to_vec(),
        name: "POST /payments".to_owned(),
        kind: 2,
        start_time_unix_nano: time_ns,
        end_time_unix_nano: time_ns + 1_000_000 + item,
        attributes: attributes(request, item),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..ITEMS).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }],
    }
}

fn logs(request: u64, time_ns: u64) -> ExportLogsServiceRequest {
    let record = |item| LogRecord {
        time_unix_nano: time_ns,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(format!("payment {} captured", id(request, item)))) }),
        attributes: attributes(request, item),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: (0..ITEMS).map(record).collect(), ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }],
    }
}

fn points(request: u64, time_ns: u64) -> ExportMetricsServiceRequest {
    let point = |item| NumberDataPoint {
        time_unix_nano: time_ns,
        value: Some(number_data_point::Value::AsInt(item as i64)),
        attributes: attributes(request, item),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: "queue.length".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points: (0..ITEMS).map(point).collect() })),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() }],
    }
}
