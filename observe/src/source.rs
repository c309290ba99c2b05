//! Where the SDK hands over what was made: a span at its end, a log record, a collection of metric points.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope, Key,
    logs::{AnyValue, LogRecord},
};
use opentelemetry_proto::{
    tonic::collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    tonic::metrics::v1::metric::Data,
    transform::{
        common::tonic::ResourceAttributesWithSchema, logs::tonic::group_logs_by_resource_and_scope,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogProcessor, SdkLogRecord},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{Span, SpanData, SpanProcessor},
};
use uuid::Uuid;

use crate::{
    delivery::Request,
    queue::{Intake, Item},
};

/// The resource of this process, known before the first item is made.
static RESOURCE: OnceLock<ResourceAttributesWithSchema> = OnceLock::new();

pub(crate) fn set_resource(resource: &Resource) {
    // A second `init` in one process (tests) keeps the first resource.
    let _ = RESOURCE.set(resource.into());
}

fn resource() -> &'static ResourceAttributesWithSchema {
    RESOURCE.get_or_init(Default::default)
}

impl Item for SpanData {
    fn weight(&self) -> u64 {
        1
    }

    fn request(items: Vec<Self>) -> Request {
        Request::Traces(ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(items, resource()),
        })
    }
}

#[derive(Debug)]
pub(crate) struct Spans(pub(crate) Intake<SpanData>);

impl SpanProcessor for Spans {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.offer(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // the clock does it
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(()) // `Telemetry::shutdown` drains the queue
    }
}

#[derive(Debug)]
pub(crate) struct Record(SdkLogRecord, InstrumentationScope);

impl Item for Record {
    fn weight(&self) -> u64 {
        1
    }

    fn request(items: Vec<Self>) -> Request {
        let borrowed: Vec<_> = items.iter().map(|Record(record, scope)| (record, scope)).collect();
        Request::Logs(ExportLogsServiceRequest {
            resource_logs: group_logs_by_resource_and_scope(&LogBatch::new(&borrowed), resource()),
        })
    }
}

/// Gives each record its time and `log.record.uid`, so that records can be counted distinct.
#[derive(Debug)]
pub(crate) struct Records(pub(crate) Intake<Record>);

impl LogProcessor for Records {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        record.set_timestamp(SystemTime::now());
        let uid = AnyValue::from(Uuid::now_v7().to_string());
        record.add_attribute(Key::from_static_str("log.record.uid"), uid);
        self.0.offer(Record(record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

pub(crate) struct Points {
    request: ExportMetricsServiceRequest,
    count: u64,
}

impl Item for Points {
    fn weight(&self) -> u64 {
        self.count
    }

    fn request(items: Vec<Self>) -> Request {
        let resource_metrics = items.into_iter().flat_map(|points| points.request.resource_metrics);
        Request::Metrics(ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() })
    }
}

/// Shared with `Telemetry`, which must outlive the SDK's reader to see the last collection.
#[derive(Clone)]
pub(crate) struct Collections(pub(crate) Arc<Intake<Points>>);

impl PushMetricExporter for Collections {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let request = ExportMetricsServiceRequest::from(metrics);
        let count = points(&request);
        if count > 0 {
            self.0.offer(Points { request, count });
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn points(request: &ExportMetricsServiceRequest) -> u64 {
    let metrics =
        request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
    let count = metrics.map(|metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    });
    count.sum::<usize>() as u64
}
