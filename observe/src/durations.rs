//! Histograms of durations whose buckets remember a trace: an exemplar for each bucket, the last that fell into it.
//!
//! The SDK keeps no exemplars yet, and nobody else can put one into its points. So samples wait here, beside its
//! histogram, until its points are collected, and are laid into the request that carries these.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{KeyValue, global, metrics::Histogram, trace::TraceContextExt};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Exemplar, HistogramDataPoint, exemplar::Value, metric::Data},
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What the conventions advise for requests and messages, in seconds.
pub const REQUEST_BOUNDARIES_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// And for calls of a database.
pub const DATABASE_BOUNDARIES_S: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Series of one histogram that get exemplars between two collections: as many as the SDK tells apart.
const SERIES_MAX: usize = 2_000;

/// The samples of every histogram of the process, by its name.
static HISTOGRAMS: Mutex<Option<HashMap<&'static str, Arc<Samples>>>> = Mutex::new(None);

/// A histogram of seconds with exemplars.
pub struct Durations {
    histogram: Histogram<f64>,
    samples: Arc<Samples>,
}

impl Durations {
    /// Make it when telemetry has been started. `boundaries_s` ascend.
    pub fn new(
        scope: &'static str,
        name: &'static str,
        description: &'static str,
        boundaries_s: &'static [f64],
    ) -> Durations {
        let histogram = global::meter(scope)
            .f64_histogram(name)
            .with_unit("s")
            .with_description(description)
            .with_boundaries(boundaries_s.to_vec())
            .build();
        let samples = Samples { boundaries_s, series: Mutex::default() };
        let samples = locked(&HISTOGRAMS).get_or_insert_default().entry(name).or_insert(Arc::new(samples)).clone();
        Durations { histogram, samples }
    }

    /// `span` is what took the time. It becomes the exemplar of its bucket if it is sampled.
    pub fn record(&self, took: Duration, attributes: &[KeyValue], span: &Span) {
        let seconds = took.as_secs_f64();
        self.histogram.record(seconds, attributes);
        let context = span.context();
        let context = context.span().span_context().clone();
        if context.is_sampled() {
            let (trace_id, span_id) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
            self.samples.keep(attributes, Sample { at: SystemTime::now(), seconds, trace_id, span_id });
        }
    }
}

struct Sample {
    at: SystemTime,
    seconds: f64,
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

impl Sample {
    fn into_exemplar(self) -> Exemplar {
        let since_epoch = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Exemplar {
            time_unix_nano: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            value: Some(Value::AsDouble(self.seconds)),
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            filtered_attributes: Vec::new(), // a span has more than a point could
        }
    }
}

/// What one histogram remembers since the last collection. Bounded by `SERIES_MAX` and one sample a bucket.
struct Samples {
    boundaries_s: &'static [f64],
    series: Mutex<Series>,
}

/// A place for each bucket, by the attributes in the order of their keys.
type Series = HashMap<Vec<KeyValue>, Vec<Option<Sample>>>;

impl Samples {
    fn keep(&self, attributes: &[KeyValue], sample: Sample) {
        let bucket = self.boundaries_s.partition_point(|upper| *upper < sample.seconds);
        let key = sorted(attributes.iter());
        let mut series = locked(&self.series);
        if series.len() < SERIES_MAX || series.contains_key(&key) {
            let buckets = self.boundaries_s.len() + 1;
            series.entry(key).or_insert_with(|| (0..buckets).map(|_| None).collect())[bucket] = Some(sample);
        }
    }
}

/// `metrics` as a request, with the samples since the last one. They are in this request or in none: each tells
/// of the time before its collection.
pub(crate) fn request(metrics: &ResourceMetrics) -> ExportMetricsServiceRequest {
    let mut request = ExportMetricsServiceRequest::from(metrics);
    // The same metrics in the same order: the request was made from them.
    let scopes = request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
    let encoded = scopes.flat_map(|scope| &mut scope.metrics);
    let collected = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
    let histograms = locked(&HISTOGRAMS).clone().unwrap_or_default();
    for (encoded, collected) in encoded.zip(collected) {
        if let Some(samples) = histograms.get(collected.name())
            && let Some(Data::Histogram(histogram)) = &mut encoded.data
        {
            lay(&mut histogram.data_points, collected, std::mem::take(&mut *locked(&samples.series)));
        }
    }
    request
}

fn lay(points: &mut [HistogramDataPoint], collected: &Metric, mut series: Series) {
    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = collected.data() else { return };
    for (point, collected) in points.iter_mut().zip(histogram.data_points()) {
        let samples = series.remove(&sorted(collected.attributes())).unwrap_or_default();
        point.exemplars = samples.into_iter().flatten().map(Sample::into_exemplar).collect();
    }
}

fn sorted<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<KeyValue> {
    let mut attributes: Vec<_> = attributes.cloned().collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64) -> Sample {
        Sample { at: UNIX_EPOCH, seconds, trace_id: [1; 16], span_id: [2; 8] }
    }

    #[test]
    fn a_bucket_keeps_its_last_sample_and_what_is_kept_has_an_end() {
        let samples = Samples { boundaries_s: &[0.1, 1.0], series: Mutex::default() };
        let (method, route) = (KeyValue::new("method", "GET"), KeyValue::new("route", "/"));
        for seconds in [0.01, 0.02, 0.1, 0.5, 7.0] {
            samples.keep(&[route.clone(), method.clone()], sample(seconds));
        }
        let kept = |key: &[KeyValue]| -> Vec<Option<f64>> {
            locked(&samples.series)[key].iter().map(|kept| Some(kept.as_ref()?.seconds)).collect()
        };
        // Upper boundaries are inclusive, as in OTLP.
        assert_eq!(kept(&[method, route]), [Some(0.1), Some(0.5), Some(7.0)]);
        for number in 0..i64::try_from(SERIES_MAX).expect("a small number") + 10 {
            samples.keep(&[KeyValue::new("number", number)], sample(0.5));
        }
        assert_eq!(locked(&samples.series).len(), SERIES_MAX);
        assert_eq!(kept(&[KeyValue::new("number", 0)]), [None, Some(0.5), None]);
    }
}
