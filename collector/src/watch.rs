//! What the collector says about itself: `/health` and `/ready`, `/metrics`, the same figures by OTLP, one log line a minute.
//!
//! All of them look at one [`Seen`]. There are no spans and no log lines per request: the collector exports to itself, and
//! would otherwise feed itself.

mod at_work;
mod counts;
mod export;
mod health;
mod measures;
mod prometheus;
mod summary;

pub(crate) use at_work::AtWork;
pub(crate) use counts::{Counts, Outcome};
pub(crate) use export::export;
pub(crate) use health::{health, ready};
pub(crate) use prometheus::metrics;
pub(crate) use summary::summarize;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::access::ClientCounts;
use crate::collector::Collector;
use crate::gate::InFlight;
use crate::kafka_in;
use crate::port::Port;
use crate::processors::Counted;
use crate::sinks::Progress;
use crate::{derive, sampling};

/// A moment of the collector.
pub(crate) struct Seen {
    pub counts: Arc<Counts>,
    pub in_flight: InFlight,
    pub store: store::Status,
    pub ports: [Port; 2],
    pub clients: Vec<ClientCounts>,
    pub decoders: Decoders,
    /// One a declared processor and signal.
    pub processed: Vec<Counted>,
    /// One a reader of the log and signal; empty without any.
    pub sinks: Vec<Progress>,
    /// None when nothing is read from Kafka.
    pub kafka_in: Option<kafka_in::Progress>,
    pub derived: Option<Arc<derive::Counts>>,
    pub sampling: Option<Arc<sampling::Counts>>,
}

/// Those that decode off the async threads.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Decoders {
    pub busy: usize,
    pub busy_max: usize,
    /// Milliseconds that the longest of them has taken.
    pub busy_ms: u64,
}

/// A bounded place and how full it is. The unit is the last word of the name.
pub(crate) struct Queue {
    pub name: &'static str,
    pub length: u64,
    pub capacity: u64,
    /// Requests turned away because of it since the start.
    pub refused: u64,
}

/// A thread, or a set of them, and how long its work at hand has taken.
pub(crate) struct Worker {
    pub name: &'static str,
    pub busy_ms: u64,
}

impl Seen {
    pub(crate) fn of(collector: &Collector) -> Seen {
        let (busy, busy_ms) = collector.at_work.count_and_oldest_ms();
        let store = collector.writer.status();
        let sinks = collector.readers.accounts.iter().map(|account| account.progress(&store.cursors)).collect();
        Seen {
            counts: Arc::clone(&collector.counts),
            in_flight: collector.gate.in_flight(),
            store,
            ports: collector.ports.each_ref().map(|counts| counts.port()),
            clients: collector.access.client_counts(),
            decoders: Decoders { busy, busy_max: collector.decoders_max, busy_ms },
            processed: collector.processors.counted(),
            sinks,
            kafka_in: collector.kafka_in.as_ref().map(|account| account.progress()),
            derived: collector.readers.derived.clone(),
            sampling: collector.readers.sampling.clone(),
        }
    }

    /// Every queue a request can meet, in the order it meets them. Beyond the connections more wait in the kernel, so none of
    /// them is refused; who waits for a decoder has a place among the requests.
    pub(crate) fn queues(&self) -> Vec<Queue> {
        let Seen { in_flight, store, decoders, kafka_in, .. } = self;
        let queue = |name, length: u64, capacity: u64, refused| Queue { name, length, capacity, refused };
        let mut queues: Vec<_> =
            self.ports.iter().map(|port| queue(port.queue, port.open as u64, port.open_max as u64, 0)).collect();
        queues.extend([
            queue(
                "in_flight_requests",
                in_flight.requests as u64,
                in_flight.requests_max as u64,
                in_flight.requests_refused,
            ),
            queue("in_flight_bytes", in_flight.bytes as u64, in_flight.bytes_max as u64, in_flight.bytes_refused),
            queue("decoders", decoders.busy as u64, decoders.busy_max as u64, 0),
        ]);
        // What finds it full waits in Kafka.
        queues
            .extend(kafka_in.iter().map(|of| queue("kafka_in_messages", of.in_hand as u64, of.in_hand_max as u64, 0)));
        // The store counts what it refuses by signal, whichever of its limits was met.
        queues.extend(store.signals.iter().map(|of| {
            queue(unwritten_requests(of.signal), of.unwritten_requests, of.unwritten_requests_max, of.refused)
        }));
        // Whoever is remembered beyond its capacity is forgotten early, which refuses nobody.
        queues.extend(
            store
                .signals
                .iter()
                .filter(|of| of.known_requests_max > 0)
                .map(|of| queue(known_requests(of.signal), of.known_requests, of.known_requests_max, 0)),
        );
        queues.extend([
            queue("unwritten_bytes", store.unwritten_bytes, store.unwritten_bytes_max, 0),
            queue("log_bytes", store.log_bytes.saturating_sub(store.held_bytes), store.log_bytes_max, 0),
            // Beyond its capacity the oldest leave, which the sinks count; nobody is refused because of it.
            queue("held_bytes", store.held_bytes, store.held_bytes_max, 0),
        ]);
        if let Some(of) = &self.sampling {
            // Beyond their capacity the oldest traces are decided early.
            let traces = of.traces_waiting.load(Relaxed);
            queues.push(queue("sampling_traces", traces, of.traces_waiting_max, of.early.load(Relaxed)));
            queues.push(queue("sampling_spans", of.spans_waiting.load(Relaxed), of.spans_waiting_max, 0));
        }
        if let Some(of) = &self.derived {
            let waiting = of.waiting.load(Relaxed);
            queues.push(queue("service_graph_requests", waiting, of.waiting_max, of.dropped.load(Relaxed)));
        }
        queues
    }

    /// Everybody whose getting stuck stops a part of the collector.
    pub(crate) fn workers(&self) -> Vec<Worker> {
        let commits = self.store.signals.iter().map(|of| Worker { name: commit(of.signal), busy_ms: of.committing_ms });
        let decoder = Worker { name: "decoder", busy_ms: self.decoders.busy_ms };
        let compaction = Worker { name: COMPACTION, busy_ms: self.store.compacting_ms };
        [decoder].into_iter().chain(commits).chain([compaction]).collect()
    }
}

/// A worker that may take long: merging large files is most of a minute.
pub(crate) const COMPACTION: &str = "compaction";

fn unwritten_requests(signal: &str) -> &'static str {
    match signal {
        "traces" => "unwritten_traces_requests",
        "logs" => "unwritten_logs_requests",
        _ => "unwritten_metrics_requests",
    }
}

fn known_requests(signal: &str) -> &'static str {
    match signal {
        "traces" => "known_traces_requests",
        "logs" => "known_logs_requests",
        _ => "known_metrics_requests",
    }
}

fn commit(signal: &str) -> &'static str {
    match signal {
        "traces" => "commit-traces",
        "logs" => "commit-logs",
        _ => "commit-metrics",
    }
}
