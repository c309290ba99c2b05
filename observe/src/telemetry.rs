//! Start and end of telemetry in a process.
//!
//! Delivery has a thread and a small runtime of its own: a busy product does not delay it, it does not appear in
//! the product's runtime metrics, and, as that thread has no subscriber, nothing the network crates say about a
//! delivery can become telemetry itself. (The SDK's reader of metrics waits on another thread for what this one
//! sends; there `NEVER_TOLD` silences it.)

use std::{fs, io, io::IsTerminal as _, path::Path, pin::pin, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    logs::{LogBatch, LogExporter as _, SdkLoggerProvider},
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter as _},
};
use tokio::{runtime::Runtime, sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};
use uuid::Uuid;

use crate::{
    Args, Counts,
    counts::Tally,
    delivery::Exporters,
    queue::{Limits, Outlet, bounded},
    runtime,
    source::{Points, Record, Records, Spans},
    target::Target,
};

/// Of spans and of records. What may wait is a minute of a busy service (about 500 a second), as long as delivery
/// waits for an absent collector.
const LIMITS: Limits = Limits { waiting_items_max: 32_768, request_items_max: 1_024, wait_max: Duration::from_secs(1) };

/// What shutdown gives the collector to take the rest.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// What the reader of metrics gets to notice that its last export was abandoned. Beyond it, it has died.
const READER_END_MAX: Duration = Duration::from_secs(2);

/// Crates below HTTP and gRPC, by how their names start: they would speak once for every request that carries telemetry.
const NEVER_TOLD: [&str; 8] = ["h2", "hyper", "tonic", "tower", "reqwest", "rustls", "opentelemetry", "clickhouse"];

/// Everything of this process's telemetry. Keep it until `shutdown`.
#[must_use = "telemetry ends with `shutdown`"]
pub struct Telemetry {
    service: String,
    instance: String,
    counts_dir: Option<std::path::PathBuf>,
    tallies: Tallies,
    /// None without an endpoint: then there is only the text on stderr.
    export: Option<Export>,
}

/// The way out of this process, by OTLP.
struct Export {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
    /// The last collection of metrics is settled.
    collected: CancellationToken,
    stop: CancellationToken,
    abandon: CancellationToken,
    ended: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Tallies {
    spans: Arc<Tally>,
    logs: Arc<Tally>,
    points: Arc<Tally>,
}

/// Sets the global subscriber, propagator and providers. The collector need not be up. Call once, inside a tokio
/// runtime if that runtime is to be measured.
pub fn init(service: &str, args: &Args) -> anyhow::Result<Telemetry> {
    let log_filter = log_filter(&args.log_filter)?;
    let instance = Uuid::new_v4().to_string();
    let tallies = Tallies::default();
    let export = match &args.otlp_endpoint {
        Some(endpoint) => {
            let resource = resource(service, &args.service_version, &instance);
            let target = Target::new(endpoint, args)?;
            Some(Export::start(&target, resource, &tallies, Duration::from_millis(args.metric_interval_ms))?)
        }
        None => None,
    };
    subscribe(export.as_ref(), log_filter)?;
    Ok(Telemetry { service: service.to_owned(), instance, counts_dir: args.counts_dir.clone(), tallies, export })
}

fn resource(service: &str, version: &str, instance: &str) -> Resource {
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "faultline"),
            KeyValue::new("service.version", version.to_owned()),
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

impl Telemetry {
    pub fn counts(&self) -> Counts {
        Counts {
            service: self.service.clone(),
            instance: self.instance.clone(),
            spans: self.tallies.spans.read(),
            logs: self.tallies.logs.read(),
            points: self.tallies.points.read(),
        }
    }

    /// Delivers what waits, for a few seconds at most, and returns the final counts, which it also leaves in
    /// `counts_dir`. Call last: what is made afterwards is not counted.
    pub async fn shutdown(mut self) -> Counts {
        if let Some(export) = self.export.take() {
            export.end().await;
        }
        let counts = self.counts();
        if let Some(folder) = &self.counts_dir
            && let Err(error) = leave(folder, &counts)
        {
            // The subscriber still writes to stderr.
            tracing::error!("could not write the counts to {}: {error:#}", folder.display());
        }
        counts
    }
}

impl Export {
    fn start(
        target: &Target,
        resource: Resource,
        tallies: &Tallies,
        metric_interval: Duration,
    ) -> anyhow::Result<Export> {
        let (runtime, exporters) = carrier(target, &resource)?;
        let (collected, stop, abandon) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (spans, span_outlet) = bounded(LIMITS, tallies.spans.clone(), stop.clone());
        let (records, record_outlet) = bounded(LIMITS, tallies.logs.clone(), stop.clone());
        let points = Points {
            exporter: exporters.metrics,
            tally: tallies.points.clone(),
            runtime: runtime.handle().clone(),
            abandon: abandon.clone(),
            ended: collected.clone(),
        };
        let outlets = Outlets {
            spans: (span_outlet, exporters.spans),
            records: (record_outlet, exporters.logs),
            abandon: abandon.clone(),
        };
        let ended = outlets.spawn(runtime)?;

        let traces =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_span_processor(Spans(spans)).build();
        let logs =
            SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(Records(records)).build();
        let reader = PeriodicReader::builder(points).with_interval(metric_interval).build();
        let metrics = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();

        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(traces.clone());
        global::set_meter_provider(metrics.clone());
        runtime::measure();
        Ok(Export { traces, logs, metrics, collected, stop, abandon, ended })
    }

    async fn end(mut self) {
        let abandon = self.abandon.clone();
        let mut flush = pin!(self.flush());
        if timeout(FLUSH_MAX, &mut flush).await.is_err() {
            abandon.cancel();
            flush.await;
        }
    }

    async fn flush(&mut self) {
        let (traces, logs, metrics) = (self.traces.clone(), self.logs.clone(), self.metrics.clone());
        // Blocks: the reader's thread makes a last collection and delivers it.
        let closed = tokio::task::spawn_blocking(move || {
            // Spans and logs have nothing of their own to flush; the counts tell what failed.
            let _ = (metrics.shutdown(), traces.shutdown(), logs.shutdown());
        });
        let _ = closed.await;
        // The SDK may have stopped waiting for its reader, who still needs the runtime that `stop` ends.
        let _ = timeout(READER_END_MAX, self.collected.cancelled()).await;
        self.stop.cancel();
        let _ = (&mut self.ended).await;
    }
}

fn leave(folder: &Path, counts: &Counts) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}-{}.json", counts.service, counts.instance));
    let unfinished = path.with_extension("json.part");
    fs::write(&unfinished, serde_json::to_vec_pretty(counts)?)?;
    fs::rename(&unfinished, &path)?;
    Ok(())
}

/// The runtime that carries all exports.
fn carrier(target: &Target, resource: &Resource) -> anyhow::Result<(Runtime, Exporters)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exporters = {
        let _inside = runtime.enter();
        Exporters::new(target, resource)
    };
    match exporters {
        Ok(exporters) => Ok((runtime, exporters)),
        Err(error) => {
            runtime.shutdown_background(); // a plain drop panics inside the caller's runtime
            Err(error)
        }
    }
}

struct Outlets {
    spans: (Outlet<SpanData>, SpanExporter),
    records: (Outlet<Record>, LogExporter),
    abandon: CancellationToken,
}

impl Outlets {
    /// Runs both on one thread; the receiver resolves when the last is empty or abandoned.
    fn spawn(self, runtime: Runtime) -> anyhow::Result<oneshot::Receiver<()>> {
        let (end, ended) = oneshot::channel();
        let deliver = move || {
            let _silent = tracing::subscriber::set_default(NoSubscriber::new());
            runtime.block_on(self.run());
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(deliver)
            .context("could not start the telemetry thread")?;
        Ok(ended)
    }

    async fn run(self) {
        let Outlets { spans: (spans, span_exporter), records: (records, log_exporter), abandon } = self;
        let export_spans = async |spans: &[SpanData]| span_exporter.export(spans.to_vec()).await;
        let export_records = async |records: &[Record]| {
            let borrowed: Vec<_> = records.iter().map(|(record, scope)| (record, scope)).collect();
            log_exporter.export(LogBatch::new(&borrowed)).await
        };
        tokio::join!(spans.run(export_spans, &abandon), records.run(export_records, &abandon),);
    }
}

/// Events go to stderr and to OTLP as log records; spans go to OTLP. An event is not also a span event.
fn subscribe(export: Option<&Export>, filter: EnvFilter) -> anyhow::Result<()> {
    let spans = export.map(|export| {
        tracing_opentelemetry::layer()
            .with_tracer(export.traces.tracer("faultline"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() && *metadata.level() <= tracing::Level::INFO && told(metadata.target())
            }))
    });
    let records = export.map(|export| OpenTelemetryTracingBridge::new(&export.logs).with_filter(filter.clone()));
    let text = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter);
    Registry::default()
        .with(spans)
        .with(records)
        .with(text)
        .try_init()
        .context("telemetry was started before in this process")
}

fn told(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or(target);
    !NEVER_TOLD.iter().any(|name| root.starts_with(name))
}

/// `wanted`, and silence for the crates that must not speak.
fn log_filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(wanted).with_context(|| format!("{wanted:?} is no log filter"))?;
    for name in NEVER_TOLD {
        filter = filter.add_directive(format!("{name}=off").parse()?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(otlp_endpoint: &str) -> Args {
        let otlp_endpoint = Some(otlp_endpoint.to_owned());
        Args {
            otlp_endpoint,
            otlp_headers: None,
            otlp_certificate: None,
            otlp_client_certificate: None,
            otlp_client_key: None,
            service_version: "1".to_owned(),
            log_filter: "info".to_owned(),
            counts_dir: None,
            metric_interval_ms: 100,
        }
    }

    #[tokio::test]
    async fn without_a_collector_shutdown_ends_and_all_is_dropped() {
        let error = init("till", &args("no address")).err().expect("an endpoint must be one");
        assert_eq!(error.to_string(), "no address is no address of a collector");

        // Port 9 (discard) of this machine: nobody listens.
        let telemetry = init("till", &args("http://127.0.0.1:9")).expect("telemetry starts");
        tracing::info_span!("ring").in_scope(|| tracing::info!("rang"));
        let counts = telemetry.shutdown().await;
        for signal in [counts.spans, counts.logs, counts.points] {
            assert!(signal.made > 0);
            assert_eq!((signal.dropped, signal.acknowledged), (signal.made, 0), "{counts:?}");
        }
    }
}
