//! Any OTLP request, small: every field set and unset, values at their edges, keys that repeat.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = (of(scope()), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let envelope = (of(resource()), vec(scope, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(envelope, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope = (of(scope()), vec(log_record(), 0..4), text()).prop_map(|(scope, log_records, schema_url)| ScopeLogs {
        scope,
        log_records,
        schema_url,
    });
    let envelope = (of(resource()), vec(scope, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(envelope, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

pub(crate) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scope = (of(scope()), vec(metric(), 0..4), text()).prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
        scope,
        metrics,
        schema_url,
    });
    let envelope = (of(resource()), vec(scope, 0..2), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(envelope, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// What JSON, UTF-8 and dictionaries could stumble over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 3 => "[ab]", 1 => "[a\"\\\\\u{0}\u{1f}\u{7f}é\u{2028}😀{}]{1,8}", 1 => Just("x".repeat(300))]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[abc]",
        1 => text(),
        1 => Just("service.name".to_owned()),
        1 => prop::sample::select(vec!["bytesValue", "doubleValue", "kvlistValue", "stringValue"]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        3 => text().prop_map(|value| Some(Value::StringValue(value))),
        1 => Just(None),
        1 => any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        2 => integer().prop_map(|value| Some(Value::IntValue(value))),
        2 => double().prop_map(|value| Some(Value::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..5).prop_map(|value| Some(Value::BytesValue(value))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(key_value(inner), 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    (key(), of_mostly(value)).prop_map(|(key, value)| KeyValue { key, value, ..Default::default() })
}

fn of_mostly<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.9, strategy)
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(key_value(value()), 0..4)
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX), Just((1 << 53) + 1), any::<i64>()]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(5.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        any::<f64>()
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 1_700_000_000_000_000_000..1_800_000_000_000_000_000u64, any::<u64>()]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => any::<u32>()]
}

/// Known numbers of an enum, and unknown ones.
fn enumeration() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..8, 1 => any::<i32>()]
}

fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), bytes).prop_filter("not all zero", |id| id.iter().any(|byte| *byte != 0))
}

/// An id, an absent one, or all zero.
fn optional_id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => id(bytes), 1 => Just(Vec::new()), 1 => Just(vec![0; bytes])]
}

fn resource() -> impl Strategy<Value = Resource> {
    let entity_ref = (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef { schema_url, r#type, id_keys, description_keys },
    );
    (attributes(), count(), vec(entity_ref, 0..2)).prop_map(|(attributes, dropped_attributes_count, entity_refs)| {
        Resource { attributes, dropped_attributes_count, entity_refs }
    })
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), count()).prop_map(|(name, version, attributes, dropped_attributes_count)| {
        InstrumentationScope { name, version, attributes, dropped_attributes_count }
    })
}

prop_compose! {
    fn span()(
        (trace_id, span_id, parent_span_id) in (id(16), id(8), optional_id(8)),
        (trace_state, name, kind, flags) in (text(), text(), enumeration(), count()),
        (start_time_unix_nano, end_time_unix_nano) in (time(), time()),
        (attributes, dropped_attributes_count) in (attributes(), count()),
        (events, dropped_events_count) in (vec(event(), 0..3), count()),
        (links, dropped_links_count) in (vec(link(), 0..3), count()),
        status in of((text(), enumeration()).prop_map(|(message, code)| Status { message, code })),
    ) -> Span {
        Span {
            trace_id, span_id, trace_state, parent_span_id, flags, name, kind, start_time_unix_nano, end_time_unix_nano,
            attributes, dropped_attributes_count, events, dropped_events_count, links, dropped_links_count, status,
        }
    }
}

prop_compose! {
    fn event()(
        (time_unix_nano, name, attributes, dropped_attributes_count) in (time(), text(), attributes(), count()),
    ) -> Event {
        Event { time_unix_nano, name, attributes, dropped_attributes_count }
    }
}

prop_compose! {
    fn link()(
        (trace_id, span_id, trace_state) in (optional_id(16), optional_id(8), text()),
        (attributes, dropped_attributes_count, flags) in (attributes(), count(), count()),
    ) -> Link {
        Link { trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags }
    }
}

prop_compose! {
    fn log_record()(
        (time_unix_nano, observed_time_unix_nano) in (time(), time()),
        (severity_number, severity_text, event_name) in (enumeration(), text(), text()),
        body in of(value()),
        (attributes, dropped_attributes_count, flags) in (attributes(), count(), count()),
        trace_id in prop_oneof![3 => optional_id(16), 1 => vec(any::<u8>(), 0..20)],
        span_id in prop_oneof![3 => optional_id(8), 1 => vec(any::<u8>(), 0..20)],
    ) -> LogRecord {
        LogRecord {
            time_unix_nano, observed_time_unix_nano, severity_number, severity_text, event_name, body,
            attributes, dropped_attributes_count, flags, trace_id, span_id,
        }
    }
}

fn metric() -> impl Strategy<Value = Metric> {
    let temporality = enumeration;
    let data = prop_oneof![
        vec(number_point(), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..3), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_point(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ];
    (text(), text(), text(), vec(key_value(value()), 0..2), of_mostly(data))
        .prop_map(|(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data })
}

prop_compose! {
    fn exemplar()(
        filtered_attributes in attributes(),
        time_unix_nano in time(),
        (span_id, trace_id) in (optional_id(8), optional_id(16)),
        value in of_mostly(prop_oneof![double().prop_map(exemplar::Value::AsDouble), integer().prop_map(exemplar::Value::AsInt)]),
    ) -> Exemplar {
        Exemplar { filtered_attributes, time_unix_nano, span_id, trace_id, value }
    }
}

prop_compose! {
    fn number_point()(
        (attributes, flags, exemplars) in (attributes(), count(), vec(exemplar(), 0..2)),
        (start_time_unix_nano, time_unix_nano) in (time(), time()),
        value in of_mostly(prop_oneof![
            double().prop_map(number_data_point::Value::AsDouble),
            integer().prop_map(number_data_point::Value::AsInt),
        ]),
    ) -> NumberDataPoint {
        NumberDataPoint { attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value }
    }
}

prop_compose! {
    fn histogram_point()(
        (attributes, flags, exemplars) in (attributes(), count(), vec(exemplar(), 0..2)),
        (start_time_unix_nano, time_unix_nano) in (time(), time()),
        (count, sum, min, max) in (time(), of(double()), of(double()), of(double())),
        (bucket_counts, explicit_bounds) in (vec(time(), 0..4), vec(double(), 0..3)),
    ) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, bucket_counts, explicit_bounds, exemplars, flags, min, max,
        }
    }
}

prop_compose! {
    fn buckets()(offset in any::<i32>(), bucket_counts in vec(time(), 0..4)) -> Buckets {
        Buckets { offset, bucket_counts }
    }
}

prop_compose! {
    fn exponential_point()(
        (attributes, flags, exemplars) in (attributes(), count(), vec(exemplar(), 0..2)),
        (start_time_unix_nano, time_unix_nano) in (time(), time()),
        (count, sum, min, max) in (time(), of(double()), of(double()), of(double())),
        (scale, zero_count, zero_threshold) in (any::<i32>(), time(), double()),
        (positive, negative) in (of(buckets()), of(buckets())),
    ) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, scale, zero_count, positive, negative, flags, exemplars,
            min, max, zero_threshold,
        }
    }
}

prop_compose! {
    fn summary_point()(
        (attributes, flags, count, sum) in (attributes(), count(), time(), double()),
        (start_time_unix_nano, time_unix_nano) in (time(), time()),
        quantile_values in vec((double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value }), 0..3),
    ) -> SummaryDataPoint {
        SummaryDataPoint { attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags }
    }
}
