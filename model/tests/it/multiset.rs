//! A request as the multiset of (resource, scope, record), each as text: what a round trip must give back.
//!
//! Before they are compared records are brought to the one spelling of what has two in OTLP: an absent message and an empty
//! one, an absent id and one that is none, a key given twice and its last entry alone.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

pub(crate) type Multiset = Vec<String>;

pub(crate) fn of_traces(request: ExportTraceServiceRequest) -> Multiset {
    let mut records = Vec::new();
    for envelope in request.resource_spans {
        for scope in envelope.scope_spans {
            let origin = origin(&envelope.resource, &envelope.schema_url, &scope.scope, &scope.schema_url);
            records.extend(scope.spans.into_iter().map(|record| format!("{origin} {:?}", span(record))));
        }
    }
    records.sort();
    records
}

pub(crate) fn of_logs(request: ExportLogsServiceRequest) -> Multiset {
    let mut records = Vec::new();
    for envelope in request.resource_logs {
        for scope in envelope.scope_logs {
            let origin = origin(&envelope.resource, &envelope.schema_url, &scope.scope, &scope.schema_url);
            records.extend(scope.log_records.into_iter().map(|record| format!("{origin} {:?}", log_record(record))));
        }
    }
    records.sort();
    records
}

pub(crate) fn of_metrics(request: ExportMetricsServiceRequest) -> Multiset {
    let mut records = Vec::new();
    for envelope in request.resource_metrics {
        for scope in envelope.scope_metrics {
            let origin = origin(&envelope.resource, &envelope.schema_url, &scope.scope, &scope.schema_url);
            for metric in scope.metrics {
                records.extend(points(metric).into_iter().map(|point| format!("{origin} {point}")));
            }
        }
    }
    records.sort();
    records
}

fn origin(
    resource: &Option<Resource>,
    resource_url: &str,
    scope: &Option<InstrumentationScope>,
    scope_url: &str,
) -> String {
    let (mut resource, mut scope) = (resource.clone().unwrap_or_default(), scope.clone().unwrap_or_default());
    last_of_each(&mut resource.attributes);
    last_of_each(&mut scope.attributes);
    format!("{resource:?} {resource_url:?} {scope:?} {scope_url:?}")
}

fn span(mut span: Span) -> Span {
    none_if_zero(&mut span.parent_span_id);
    last_of_each(&mut span.attributes);
    span.events.iter_mut().for_each(|event| last_of_each(&mut event.attributes));
    for link in &mut span.links {
        none_if_zero(&mut link.trace_id);
        none_if_zero(&mut link.span_id);
        last_of_each(&mut link.attributes);
    }
    span.status = span.status.filter(|status| *status != Status::default());
    span
}

fn log_record(mut record: LogRecord) -> LogRecord {
    none_unless(16, &mut record.trace_id);
    none_unless(8, &mut record.span_id);
    last_of_each(&mut record.attributes);
    record
}

/// Each point with a metric that has no other.
fn points(mut metric: Metric) -> Vec<String> {
    let data = metric.data.take();
    let each = |kind: String, points: Vec<String>| {
        points.into_iter().map(|point| format!("{metric:?} {kind} {point}")).collect::<Vec<_>>()
    };
    macro_rules! texts {
        ($points:expr) => {{
            let mut points = $points;
            points.iter_mut().for_each(|point| last_of_each(&mut point.attributes));
            points
        }};
    }
    macro_rules! texts_with_exemplars {
        ($points:expr) => {{
            let mut points = texts!($points);
            points.iter_mut().for_each(|point| point.exemplars.iter_mut().for_each(exemplar));
            points.iter().map(|point| format!("{point:?}")).collect()
        }};
    }
    match data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => each("gauge".into(), texts_with_exemplars!(data.data_points)),
        Some(Data::Sum(data)) => {
            let kind = format!("sum {} {}", data.aggregation_temporality, data.is_monotonic);
            each(kind, texts_with_exemplars!(data.data_points))
        }
        Some(Data::Histogram(data)) => {
            each(format!("histogram {}", data.aggregation_temporality), texts_with_exemplars!(data.data_points))
        }
        Some(Data::ExponentialHistogram(data)) => {
            each(format!("exponential {}", data.aggregation_temporality), texts_with_exemplars!(data.data_points))
        }
        Some(Data::Summary(data)) => {
            each("summary".into(), texts!(data.data_points).iter().map(|point| format!("{point:?}")).collect())
        }
    }
}

fn exemplar(exemplar: &mut Exemplar) {
    none_unless(16, &mut exemplar.trace_id);
    none_unless(8, &mut exemplar.span_id);
    last_of_each(&mut exemplar.filtered_attributes);
}

fn none_if_zero(id: &mut Vec<u8>) {
    if id.iter().all(|byte| *byte == 0) {
        id.clear();
    }
}

fn none_unless(bytes: usize, id: &mut Vec<u8>) {
    none_if_zero(id);
    if id.len() != bytes {
        id.clear();
    }
}

fn last_of_each(attributes: &mut Vec<KeyValue>) {
    let all = std::mem::take(attributes);
    for (index, attribute) in all.iter().enumerate() {
        if !all[index + 1..].iter().any(|later| later.key == attribute.key) {
            attributes.push(attribute.clone());
        }
    }
}
