//! What the collector says about itself: counters and gauges read on the exporter's clock, and one line a minute.
//!
//! There are no spans and no log lines per request: the collector exports to itself, and would otherwise feed itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::Signal;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::collector::Collector;
use crate::refusal::Refusal;

/// Time between two summaries in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Counters since the start of the process.
#[derive(Default)]
pub(crate) struct Counts {
    signals: [SignalCounts; Signal::ALL.len()],
}

/// Every request ends in exactly one of the four request counters.
#[derive(Default)]
struct SignalCounts {
    requests_accepted: AtomicU64,
    requests_refused: AtomicU64,
    requests_invalid: AtomicU64,
    requests_failed: AtomicU64,
    items_accepted: AtomicU64,
    items_rejected: AtomicU64,
}

impl Counts {
    pub(crate) fn accepted(&self, signal: Signal, items: u64, rejected: u64) {
        let counts = &self.signals[signal as usize];
        counts.requests_accepted.fetch_add(1, Ordering::Relaxed);
        counts.items_accepted.fetch_add(items, Ordering::Relaxed);
        counts.items_rejected.fetch_add(rejected, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, signal: Signal, refusal: &Refusal) {
        let counts = &self.signals[signal as usize];
        let counter = match refusal {
            Refusal::Busy { .. } => &counts.requests_refused,
            Refusal::Internal => &counts.requests_failed,
            _ => &counts.requests_invalid,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn items_accepted(&self, signal: Signal) -> u64 {
        self.signals[signal as usize].items_accepted.load(Ordering::Relaxed)
    }

    fn total(&self, counter: impl Fn(&SignalCounts) -> &AtomicU64) -> u64 {
        self.signals.iter().map(|counts| counter(counts).load(Ordering::Relaxed)).sum()
    }
}

/// Registers the instruments; the reader calls them when it exports. They hold nothing: a collector that ended stays silent.
pub(crate) fn observe(collector: &Arc<Collector>, meter: &Meter) {
    let of = Arc::downgrade(collector);
    meter
        .u64_observable_counter("faultline.collector.requests")
        .with_description("Export requests by outcome: accepted, refused (full), invalid, failed")
        .with_unit("{request}")
        .with_callback(move |instrument| {
            let Some(of) = of.upgrade() else { return };
            for signal in Signal::ALL {
                let counts = &of.counts.signals[signal as usize];
                observe_one(instrument, &counts.requests_accepted, signal, "accepted");
                observe_one(instrument, &counts.requests_refused, signal, "refused");
                observe_one(instrument, &counts.requests_invalid, signal, "invalid");
                observe_one(instrument, &counts.requests_failed, signal, "failed");
            }
        })
        .build();

    let of = Arc::downgrade(collector);
    meter
        .u64_observable_counter("faultline.collector.items")
        .with_description(
            "Spans, log records and points: accepted are durable, rejected were left out of an accepted request",
        )
        .with_unit("{item}")
        .with_callback(move |instrument| {
            let Some(of) = of.upgrade() else { return };
            for signal in Signal::ALL {
                let counts = &of.counts.signals[signal as usize];
                observe_one(instrument, &counts.items_accepted, signal, "accepted");
                observe_one(instrument, &counts.items_rejected, signal, "rejected");
            }
        })
        .build();

    gauge(
        collector,
        meter,
        "faultline.collector.in_flight.size",
        "By",
        "Bytes of bodies being read and decoded",
        |of| of.gate.in_flight().bytes as u64,
    );
    gauge(
        collector,
        meter,
        "faultline.collector.in_flight.limit",
        "By",
        "Bytes above which requests are refused",
        |of| of.gate.in_flight().bytes_max as u64,
    );
    gauge(collector, meter, "faultline.collector.queue.size", "By", "Bytes received and not yet durable", |of| {
        of.writer.status().unwritten_bytes
    });
    gauge(collector, meter, "faultline.collector.queue.limit", "By", "Bytes above which the store refuses", |of| {
        of.writer.status().unwritten_bytes_max
    });
    gauge(collector, meter, "faultline.collector.log.size", "By", "Bytes of the hot log on disk", |of| {
        of.writer.status().log_bytes
    });
    gauge(
        collector,
        meter,
        "faultline.collector.log.limit",
        "By",
        "Bytes on disk above which the store refuses",
        |of| of.writer.status().log_bytes_max,
    );

    let of = Arc::downgrade(collector);
    meter
        .u64_observable_counter("faultline.collector.queue.refused")
        .with_description("Requests the store had no place for")
        .with_unit("{request}")
        .with_callback(move |instrument| {
            let Some(of) = of.upgrade() else { return };
            for signal in of.writer.status().signals {
                instrument.observe(signal.refused, &[KeyValue::new("otlp.signal", signal.signal)]);
            }
        })
        .build();
}

fn observe_one(instrument: &dyn AsyncInstrument<u64>, counter: &AtomicU64, signal: Signal, outcome: &'static str) {
    let attributes = [KeyValue::new("otlp.signal", signal.name()), KeyValue::new("outcome", outcome)];
    instrument.observe(counter.load(Ordering::Relaxed), &attributes);
}

fn gauge(
    collector: &Arc<Collector>,
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    value: impl Fn(&Collector) -> u64 + Send + Sync + 'static,
) {
    let of: Weak<Collector> = Arc::downgrade(collector);
    meter
        .u64_observable_gauge(name)
        .with_description(help)
        .with_unit(unit)
        .with_callback(move |instrument| {
            if let Some(of) = of.upgrade() {
                instrument.observe(value(&of), &[]);
            }
        })
        .build();
}

/// One line a minute, however much arrives.
pub(crate) async fn summarize(collector: Arc<Collector>, stop: CancellationToken) {
    let mut clock = tokio::time::interval(SUMMARY_INTERVAL);
    clock.tick().await; // the first tick is now
    let mut before = Summary::default();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            _ = stop.cancelled() => return,
        }
        let now = Summary::of(&collector.counts);
        let queue = collector.writer.status();
        info!(
            items.spans = now.spans - before.spans,
            items.logs = now.logs - before.logs,
            items.points = now.points - before.points,
            requests.refused = now.refused - before.refused,
            requests.invalid = now.invalid - before.invalid,
            queue.bytes = queue.unwritten_bytes,
            "kept {} spans, {} log records and {} points in a minute; refused {} requests, {} made no sense; {} of {} bytes wait",
            now.spans - before.spans,
            now.logs - before.logs,
            now.points - before.points,
            now.refused - before.refused,
            now.invalid - before.invalid,
            queue.unwritten_bytes,
            queue.unwritten_bytes_max,
        );
        before = now;
    }
}

#[derive(Default)]
struct Summary {
    spans: u64,
    logs: u64,
    points: u64,
    refused: u64,
    invalid: u64,
}

impl Summary {
    fn of(counts: &Counts) -> Summary {
        Summary {
            spans: counts.items_accepted(Signal::Traces),
            logs: counts.items_accepted(Signal::Logs),
            points: counts.items_accepted(Signal::Metrics),
            refused: counts.total(|counts| &counts.requests_refused),
            invalid: counts.total(|counts| &counts.requests_invalid),
        }
    }
}
