//! Series as metrics of OTLP: one point a series, with all that was counted since it began.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::args::{Args, Unit};
use super::series::{self, BOUNDS_MS, Series, parts};
use super::service_graph::{self, Edge, FAILED, Graph};
use super::span_metrics;

const SPAN_METRICS: &str = "faultline.span_metrics";
const SERVICE_GRAPH: &str = "faultline.service_graph";
const SERVICE: &str = "service.name";
const OVERFLOW: &str = "otel.metric.overflow";
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const NS_PER_MS: u64 = 1_000_000;

/// Points of all series as of `now_ms`. Exemplars are told once.
pub(super) fn request(
    spans: &mut series::Table<series::Histogram>,
    graph: &mut Graph,
    args: &Args,
    now_ms: u64,
) -> ExportMetricsServiceRequest {
    let mut resource_metrics = of_spans(spans, args, now_ms);
    resource_metrics.extend(of_graph(graph, now_ms));
    ExportMetricsServiceRequest { resource_metrics }
}

/// A resource a service, so that its metrics are found where its spans are.
fn of_spans(table: &mut series::Table<series::Histogram>, args: &Args, now_ms: u64) -> Vec<ResourceMetrics> {
    let name = |name: &str| match &args.span_metrics_namespace {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    };
    let (calls_name, duration_name) = (name("calls"), name("duration"));
    let mut resources: Vec<ResourceMetrics> = Vec::new();
    let mut service_before = None;
    let (mut calls, mut durations) = (Vec::new(), Vec::new());
    let mut close = |service: Option<&str>, calls: &mut Vec<_>, durations: &mut Vec<_>| {
        let metrics = vec![
            sum(&calls_name, "Spans that ended", std::mem::take(calls)),
            histogram(&duration_name, "How long spans took", args.span_metrics_unit, std::mem::take(durations)),
        ];
        resources.push(resource_metrics(service, SPAN_METRICS, metrics));
    };
    for (key, series) in table.sorted() {
        let service = key.and_then(|key| parts(key).next());
        if service_before.is_some_and(|before| before != service) {
            close(service_before.flatten(), &mut calls, &mut durations);
        }
        service_before = Some(service);
        let attributes = match key {
            Some(key) => {
                let known = span_metrics::attributes(parts(key), &args.span_metrics_attributes);
                known.map(|(name, value)| text(name, value)).collect()
            }
            None => vec![yes(OVERFLOW)],
        };
        let clock = (series.since_ms, now_ms);
        calls.push(number(series.value.count, attributes.clone(), clock));
        durations.push(distribution(&mut series.value, attributes, clock, args.span_metrics_unit));
    }
    if let Some(service) = service_before {
        close(service, &mut calls, &mut durations);
    }
    resources
}

/// No resource: an edge has two services.
fn of_graph(graph: &mut Graph, now_ms: u64) -> Option<ResourceMetrics> {
    let (mut requests, mut failed, mut servers, mut clients) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, series) in graph.edges.sorted() {
        let attributes = match key {
            Some(key) => {
                let known = service_graph::ATTRIBUTES.into_iter().zip(parts(key));
                known
                    .map(|(name, value)| if name == FAILED { flag(name, value == "true") } else { text(name, value) })
                    .collect()
            }
            None => vec![yes(OVERFLOW)],
        };
        let clock = (series.since_ms, now_ms);
        let Series { value: Edge { requests: all, failed: some, server, client }, .. } = series;
        requests.push(number(*all, attributes.clone(), clock));
        if *some > 0 {
            failed.push(number(*some, attributes.clone(), clock));
        }
        if server.count > 0 {
            servers.push(distribution(server, attributes.clone(), clock, Unit::S));
        }
        if client.count > 0 {
            clients.push(distribution(client, attributes, clock, Unit::S));
        }
    }
    if requests.is_empty() {
        return None;
    }
    let name = |name: &str| format!("traces_service_graph_request_{name}");
    let metrics = vec![
        sum(&name("total"), "Requests between two services", requests),
        sum(&name("failed_total"), "Requests between two services that failed", failed),
        histogram(&name("server_seconds"), "Requests between two services as the server saw them", Unit::S, servers),
        histogram(&name("client_seconds"), "Requests between two services as the client saw them", Unit::S, clients),
    ];
    Some(resource_metrics(None, SERVICE_GRAPH, metrics))
}

fn resource_metrics(service: Option<&str>, scope: &str, metrics: Vec<Metric>) -> ResourceMetrics {
    let attributes = service.map(|service| text(SERVICE, service)).into_iter().collect();
    let scope = InstrumentationScope {
        name: scope.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }
}

fn sum(name: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
    metric(name, description, "", metric::Data::Sum(sum))
}

fn histogram(name: &str, description: &str, unit: Unit, data_points: Vec<HistogramDataPoint>) -> Metric {
    let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
    let unit = match unit {
        Unit::Ms => "ms",
        Unit::S => "s",
    };
    metric(name, description, unit, metric::Data::Histogram(histogram))
}

fn metric(name: &str, description: &str, unit: &str, data: metric::Data) -> Metric {
    let (name, description, unit) = (name.to_owned(), description.to_owned(), unit.to_owned());
    Metric { name, description, unit, metadata: Vec::new(), data: Some(data) }
}

fn number(value: u64, attributes: Vec<KeyValue>, (since_ms, now_ms): (u64, u64)) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: since_ms * NS_PER_MS,
        time_unix_nano: now_ms * NS_PER_MS,
        value: Some(number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    }
}

fn distribution(
    of: &mut series::Histogram,
    attributes: Vec<KeyValue>,
    (since_ms, now_ms): (u64, u64),
    unit: Unit,
) -> HistogramDataPoint {
    let exemplars = std::mem::take(&mut of.exemplars).into_iter().flatten().map(|of| Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: of.time_ns as u64,
        span_id: of.span_id.to_vec(),
        trace_id: of.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(in_unit(of.duration_ns as f64, unit))),
    });
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: since_ms * NS_PER_MS,
        time_unix_nano: now_ms * NS_PER_MS,
        count: of.count,
        sum: Some(in_unit(of.sum_ns, unit)),
        bucket_counts: of.buckets.to_vec(),
        explicit_bounds: BOUNDS_MS.iter().map(|bound| in_unit((bound * NS_PER_MS) as f64, unit)).collect(),
        exemplars: exemplars.collect(),
        ..HistogramDataPoint::default()
    }
}

fn in_unit(nanoseconds: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Ms => nanoseconds / 1e6,
        Unit::S => nanoseconds / 1e9,
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn yes(key: &str) -> KeyValue {
    flag(key, true)
}

fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
