//! Start and end of telemetry in a process.
//!
//! Delivery has a thread and a small runtime of its own: a busy product does not delay it, it does not appear in
//! the product's runtime metrics, and, as that thread has no subscriber, nothing the network crates say about a
//! delivery can become telemetry itself.

use std::{fs, io, io::IsTerminal as _, path::Path, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};
use uuid::Uuid;

use crate::{
    Args, Counts,
    counts::Tally,
    queue::{Limits, Outlet, bounded},
    runtime,
    source::{self, Collections, Points, Record, Records, Spans},
};

/// Half a minute of a busy service: what a collector's restart may take.
const SPANS: Limits = Limits { waiting_items_max: 16_384, request_items_max: 1_024, wait_max: Duration::from_secs(1) };
const LOGS: Limits = Limits { waiting_items_max: 16_384, request_items_max: 1_024, wait_max: Duration::from_secs(1) };
/// Items here are whole collections; they come on a clock already.
const COLLECTIONS: Limits = Limits { waiting_items_max: 32, request_items_max: 1, wait_max: Duration::from_secs(1) };

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// What shutdown gives the collector to take the rest.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Crates below HTTP and gRPC, and the embedded broker, by how their names start: they would speak once for every request
/// that carries telemetry.
const NEVER_TOLD: [&str; 9] = ["h2", "hyper", "tonic", "tower", "reqwest", "rustls", "opentelemetry", "tansu", "rama"];

/// Everything of this process's telemetry. Keep it until `shutdown`.
#[must_use = "telemetry ends with `shutdown`"]
pub struct Telemetry {
    service: String,
    instance: String,
    counts_dir: Option<std::path::PathBuf>,
    tallies: Tallies,
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
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
    let endpoint = Endpoint::from_shared(args.otlp_endpoint.clone())
        .with_context(|| format!("{} is no address of a collector", args.otlp_endpoint))?
        .connect_timeout(CONNECT_MAX);
    let log_filter = log_filter(&args.log_filter)?;
    let instance = Uuid::new_v4().to_string();
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "faultline"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.clone()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build();
    source::set_resource(&resource);

    let tallies = Tallies::default();
    let (spans, span_outlet) = bounded(SPANS, tallies.spans.clone());
    let (records, record_outlet) = bounded(LOGS, tallies.logs.clone());
    let (collections, collection_outlet) = bounded(COLLECTIONS, tallies.points.clone());
    let stop = CancellationToken::new();
    let abandon = CancellationToken::new();
    let outlets = Outlets { spans: span_outlet, records: record_outlet, collections: collection_outlet };
    let ended = outlets.spawn(endpoint, stop.clone(), abandon.clone())?;

    let traces = SdkTracerProvider::builder().with_resource(resource.clone()).with_span_processor(Spans(spans)).build();
    let logs =
        SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(Records(records)).build();
    let reader = PeriodicReader::builder(Collections(Arc::new(collections)))
        .with_interval(Duration::from_millis(args.metric_interval_ms))
        .build();
    let metrics = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();

    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());
    runtime::measure();
    subscribe(&traces, &logs, log_filter)?;

    Ok(Telemetry {
        service: service.to_owned(),
        instance,
        counts_dir: args.counts_dir.clone(),
        tallies,
        traces,
        logs,
        metrics,
        stop,
        abandon,
        ended,
    })
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
        let (traces, logs, metrics) = (self.traces.clone(), self.logs.clone(), self.metrics.clone());
        // Blocks: the reader's thread makes a last collection.
        let closed = tokio::task::spawn_blocking(move || {
            // Spans and logs have nothing of their own to flush; an error here means shut down before.
            let _ = (metrics.shutdown(), traces.shutdown(), logs.shutdown());
        });
        let _ = closed.await;
        self.stop.cancel();
        if tokio::time::timeout(FLUSH_MAX, &mut self.ended).await.is_err() {
            self.abandon.cancel();
            let _ = (&mut self.ended).await;
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

fn leave(folder: &Path, counts: &Counts) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}-{}.json", counts.service, counts.instance));
    let unfinished = path.with_extension("json.part");
    fs::write(&unfinished, serde_json::to_vec_pretty(counts)?)?;
    fs::rename(&unfinished, &path)?;
    Ok(())
}

struct Outlets {
    spans: Outlet<SpanData>,
    records: Outlet<Record>,
    collections: Outlet<Points>,
}

impl Outlets {
    /// Runs all three on one thread; the receiver resolves when the last is empty or abandoned.
    fn spawn(
        self,
        endpoint: Endpoint,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) -> anyhow::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let deliver = move || {
            let _silent = tracing::subscriber::set_default(NoSubscriber::new());
            runtime.block_on(async {
                let channel: Channel = endpoint.connect_lazy();
                tokio::join!(
                    self.spans.run(channel.clone(), stop.clone(), abandon.clone()),
                    self.records.run(channel.clone(), stop.clone(), abandon.clone()),
                    self.collections.run(channel, stop, abandon),
                );
            });
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(deliver)
            .context("could not start the telemetry thread")?;
        Ok(ended)
    }
}

/// Events go to stderr and to OTLP as log records; spans go to OTLP. An event is not also a span event.
fn subscribe(traces: &SdkTracerProvider, logs: &SdkLoggerProvider, filter: EnvFilter) -> anyhow::Result<()> {
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("faultline"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| {
            metadata.is_span() && *metadata.level() <= tracing::Level::INFO && told(metadata.target())
        }));
    let records = OpenTelemetryTracingBridge::new(logs).with_filter(filter.clone());
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

/// `wanted`, and silence for the crates that must not speak (errors of the broker excepted).
fn log_filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(wanted).with_context(|| format!("{wanted:?} is no log filter"))?;
    for name in NEVER_TOLD {
        let level = if name == "tansu" { "error" } else { "off" };
        filter = filter.add_directive(format!("{name}={level}").parse()?);
    }
    Ok(filter)
}
