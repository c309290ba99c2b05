//! Where the SDK hands over what was made: a span at its end, a log record, a collection of metric points.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope, Key,
    logs::{AnyValue, LogRecord},
};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogProcessor, SdkLogRecord},
    metrics::{
        Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
        exporter::PushMetricExporter,
    },
    trace::{Span, SpanData, SpanProcessor},
};
use tokio::runtime::Handle;
use tokio_util::{context::TokioContext, sync::CancellationToken};
use uuid::Uuid;

use crate::{
    counts::Tally,
    delivery::{MetricExporter, deliver},
    durations,
    queue::Intake,
};

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

pub(crate) type Record = (SdkLogRecord, InstrumentationScope);

/// Gives each record its time and `log.record.uid`, so that records can be counted distinct.
#[derive(Debug)]
pub(crate) struct Records(pub(crate) Intake<Record>);

impl LogProcessor for Records {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        record.set_timestamp(SystemTime::now());
        let uid = AnyValue::from(Uuid::now_v7().to_string());
        record.add_attribute(Key::from_static_str("log.record.uid"), uid);
        self.0.offer((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Metrics need no queue: the SDK's reader has a thread of its own, and what it would have collected while it waits
/// for the collector is in the next collection (sums are cumulative).
pub(crate) struct Points {
    pub(crate) exporter: MetricExporter,
    pub(crate) tally: Arc<Tally>,
    /// Carries the connection and the clock; the reader's thread has neither.
    pub(crate) runtime: Handle,
    pub(crate) abandon: CancellationToken,
    /// Cancelled when the reader has made its last collection and this is settled.
    pub(crate) ended: CancellationToken,
}

impl PushMetricExporter for Points {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let points = points(metrics);
        self.tally.made(points);
        let request = durations::request(metrics);
        let delivery = deliver(|| self.exporter.export(request.clone()), &self.abandon);
        let delivered = TokioContext::new(delivery, self.runtime.clone()).await;
        self.tally.settled(points, delivered);
        if delivered { Ok(()) } else { Err(OTelSdkError::InternalFailure("given up".to_owned())) }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.ended.cancel();
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn points(metrics: &ResourceMetrics) -> u64 {
    let metrics = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
    let points = metrics.map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => points_of(data),
        AggregatedMetrics::I64(data) => points_of(data),
        AggregatedMetrics::U64(data) => points_of(data),
    });
    points.sum::<usize>() as u64
}

fn points_of<T>(data: &MetricData<T>) -> usize {
    match data {
        MetricData::Gauge(gauge) => gauge.data_points().count(),
        MetricData::Sum(sum) => sum.data_points().count(),
        MetricData::Histogram(histogram) => histogram.data_points().count(),
        MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
    }
}
