//! Every figure of the collector, once: its name, unit and help, and where it is read. `/metrics` and the exporter tell the same.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Signal;
use store::Lag;

use super::{Outcome, Seen};
use crate::kafka_in::TopicProgress;
use crate::processors::{Counted, Processor};
use crate::sampling;

/// Tells one value with its labels.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(u64, &[(&'static str, &str)]);

pub(crate) struct Measure {
    /// As OpenTelemetry spells it.
    pub name: &'static str,
    /// UCUM.
    pub unit: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub read: fn(&Seen, Tell<'_>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows while the process lives.
    Counter,
    Gauge,
}

const SIGNAL: &str = "otlp.signal";
const OUTCOME: &str = "outcome";
const QUEUE: &str = "queue";
const WORKER: &str = "faultline.worker";
const CLIENT: &str = "faultline.client";
const PORT: &str = "faultline.port";
const SINK: &str = "sink.name";
const STATE: &str = "faultline.state";
const TOPIC: &str = "messaging.destination.name";
const POLICY: &str = "faultline.policy";
const DERIVED: &str = "faultline.derived";
const PROCESSOR: &str = "faultline.processor";

pub(crate) const MEASURES: &[Measure] = &[
    Measure {
        name: "faultline.collector.requests",
        unit: "{request}",
        help: "Export requests by outcome: accepted, repeated (durable before), refused (full or over a rate), denied (no credentials), invalid, failed",
        kind: Kind::Counter,
        read: |seen, tell| {
            for signal in Signal::ALL {
                for outcome in Outcome::ALL {
                    let labels = [(SIGNAL, signal.name()), (OUTCOME, outcome.name())];
                    tell(seen.counts.requests(signal, outcome), &labels);
                }
            }
        },
    },
    Measure {
        name: "faultline.collector.items",
        unit: "{item}",
        help: "Spans, log records and points: accepted are durable, rejected were left out of an accepted request",
        kind: Kind::Counter,
        read: |seen, tell| {
            for signal in Signal::ALL {
                tell(seen.counts.items_accepted(signal), &[(SIGNAL, signal.name()), (OUTCOME, "accepted")]);
                tell(seen.counts.items_rejected(signal), &[(SIGNAL, signal.name()), (OUTCOME, "rejected")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.processor.changed",
        unit: "{item}",
        help: "Spans, log records and points that a rule about attributes changed, once for each such rule",
        kind: Kind::Counter,
        read: |seen, tell| each_processed(seen, tell, |of| of == Processor::Attributes),
    },
    Measure {
        name: "faultline.collector.processor.dropped",
        unit: "{item}",
        help: "Spans, log records and points that were not kept because a filter or sampling says so",
        kind: Kind::Counter,
        read: |seen, tell| {
            each_processed(seen, tell, |of| matches!(of, Processor::Filter | Processor::Sampling));
        },
    },
    Measure {
        name: "faultline.collector.processor.masked",
        unit: "{value}",
        help: "Values, bodies and names in which redaction masked something",
        kind: Kind::Counter,
        read: |seen, tell| each_processed(seen, tell, |of| of == Processor::Redaction),
    },
    Measure {
        name: "faultline.collector.queue.length",
        unit: "1",
        help: "What is in each queue, in the unit its name ends with",
        kind: Kind::Gauge,
        read: |seen, tell| seen.queues().iter().for_each(|queue| tell(queue.length, &[(QUEUE, queue.name)])),
    },
    Measure {
        name: "faultline.collector.queue.capacity",
        unit: "1",
        help: "What each queue takes; beyond it requests are refused or wait in the kernel",
        kind: Kind::Gauge,
        read: |seen, tell| seen.queues().iter().for_each(|queue| tell(queue.capacity, &[(QUEUE, queue.name)])),
    },
    Measure {
        name: "faultline.collector.queue.refused",
        unit: "{request}",
        help: "Requests turned away because a queue was full; of the store's, whichever of its limits was met",
        kind: Kind::Counter,
        read: |seen, tell| seen.queues().iter().for_each(|queue| tell(queue.refused, &[(QUEUE, queue.name)])),
    },
    Measure {
        name: "faultline.collector.worker.busy",
        unit: "ms",
        help: "Time that the work at hand of each worker has taken, 0 when it has none; one that only grows is stuck",
        kind: Kind::Gauge,
        read: |seen, tell| seen.workers().iter().for_each(|worker| tell(worker.busy_ms, &[(WORKER, worker.name)])),
    },
    Measure {
        name: "faultline.collector.client.requests",
        unit: "{request}",
        help: "Requests of each known client since its entry was read: accepted by its rates, or refused by them",
        kind: Kind::Counter,
        read: |seen, tell| {
            for client in &seen.clients {
                tell(client.requests_admitted, &[(CLIENT, client.name.as_str()), (OUTCOME, "accepted")]);
                tell(client.requests_refused, &[(CLIENT, client.name.as_str()), (OUTCOME, "refused")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.client.size",
        unit: "By",
        help: "Bytes of each known client since its entry was read, as they arrived and once more as they were inflated",
        kind: Kind::Counter,
        read: |seen, tell| seen.clients.iter().for_each(|client| tell(client.bytes, &[(CLIENT, client.name.as_str())])),
    },
    Measure {
        name: "faultline.collector.handshakes.failed",
        unit: "{connection}",
        help: "Connections that never got through TLS: no certificate, a wrong one, or no TLS at all",
        kind: Kind::Counter,
        read: |seen, tell| seen.ports.iter().for_each(|port| tell(port.handshakes_failed, &[(PORT, port.name)])),
    },
    Measure {
        name: "faultline.collector.segments.sealed",
        unit: "{segment}",
        help: "Segments of the hot log that wait to become Parquet",
        kind: Kind::Gauge,
        read: |seen, tell| {
            seen.store.signals.iter().for_each(|of| tell(of.segments_sealed, &[(SIGNAL, of.signal)]));
        },
    },
    Measure {
        name: "faultline.collector.files",
        unit: "{file}",
        help: "Parquet files that the manifest names",
        kind: Kind::Gauge,
        read: |seen, tell| tell(seen.store.files, &[]),
    },
    Measure {
        name: "faultline.collector.files.size",
        unit: "By",
        help: "Bytes of the Parquet files that the manifest names",
        kind: Kind::Gauge,
        read: |seen, tell| tell(seen.store.file_bytes, &[]),
    },
    Measure {
        name: "faultline.collector.disk.free",
        unit: "By",
        help: "Bytes free on the disk of the data folder",
        kind: Kind::Gauge,
        read: |seen, tell| tell(seen.store.disk_free_bytes, &[]),
    },
    Measure {
        name: "faultline.collector.disk.limit",
        unit: "By",
        help: "Bytes that are left free on that disk: with fewer requests are refused",
        kind: Kind::Gauge,
        read: |seen, tell| tell(seen.store.disk_free_bytes_min, &[]),
    },
    Measure {
        name: "faultline.collector.sink.rows",
        unit: "{row}",
        help: "Rows of each sink by outcome: delivered, refused by the far end for good, or left out by tail sampling",
        kind: Kind::Counter,
        read: |seen, tell| {
            for of in &seen.sinks {
                tell(of.rows_delivered, &[(SINK, of.sink), (SIGNAL, of.signal), (OUTCOME, "delivered")]);
                tell(of.rows_refused, &[(SINK, of.sink), (SIGNAL, of.signal), (OUTCOME, "refused")]);
                tell(of.rows_left_out, &[(SINK, of.sink), (SIGNAL, of.signal), (OUTCOME, "left_out")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.sink.failures",
        unit: "{attempt}",
        help: "Attempts of each sink that failed and are made again",
        kind: Kind::Counter,
        read: |seen, tell| {
            seen.sinks.iter().for_each(|of| tell(of.failures, &[(SINK, of.sink), (SIGNAL, of.signal)]));
        },
    },
    Measure {
        name: "faultline.collector.sink.lag.rows",
        unit: "{row}",
        help: "Durable rows that the sink has not taken; for s3 those in Parquet files that are not copied",
        kind: Kind::Gauge,
        read: |seen, tell| each_lag(seen, tell, |lag| lag.rows),
    },
    Measure {
        name: "faultline.collector.sink.lag.size",
        unit: "By",
        help: "Bytes of the log, or for s3 of Parquet files, that the sink has not taken",
        kind: Kind::Gauge,
        read: |seen, tell| each_lag(seen, tell, |lag| lag.bytes),
    },
    Measure {
        name: "faultline.collector.sink.lag.time",
        unit: "ms",
        help: "Age of the oldest row that the sink has not taken",
        kind: Kind::Gauge,
        read: |seen, tell| each_lag(seen, tell, |lag| lag.age_ms),
    },
    Measure {
        name: "faultline.collector.sink.lost",
        unit: "{row}",
        help: "Rows that left the disk before the sink took them, ever",
        kind: Kind::Gauge,
        read: |seen, tell| each_lag(seen, tell, |lag| lag.lost_rows),
    },
    Measure {
        name: "faultline.collector.kafka_in.messages",
        unit: "{message}",
        help: "Messages read from each topic by outcome: kept (durable), or dead_lettered because they never can be",
        kind: Kind::Counter,
        read: |seen, tell| {
            for of in topics(seen) {
                tell(of.kept, &[(TOPIC, &of.topic), (SIGNAL, of.signal), (OUTCOME, "kept")]);
                tell(of.dead_lettered, &[(TOPIC, &of.topic), (SIGNAL, of.signal), (OUTCOME, "dead_lettered")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.kafka_in.failures",
        unit: "{attempt}",
        help: "Attempts to keep a message, or to put it among the dead letters, that are made again",
        kind: Kind::Counter,
        read: |seen, tell| each_topic(seen, tell, |of| of.failures),
    },
    Measure {
        name: "faultline.collector.kafka_in.lag",
        unit: "{message}",
        help: "Messages of our partitions that are neither durable nor among the dead letters, as of a second ago",
        kind: Kind::Gauge,
        read: |seen, tell| each_topic(seen, tell, |of| of.lag),
    },
    Measure {
        name: "faultline.collector.kafka_in.partitions",
        unit: "{partition}",
        help: "Partitions of each topic that are ours; the rest of the group has the others",
        kind: Kind::Gauge,
        read: |seen, tell| each_topic(seen, tell, |of| of.partitions),
    },
    Measure {
        name: "faultline.collector.kafka_in.state",
        unit: "1",
        help: "1 for the state of each topic: works, waits (for room), fails (no broker, no commits), no topic; /health has the reason",
        kind: Kind::Gauge,
        read: |seen, tell| {
            for of in topics(seen) {
                tell(1, &[(TOPIC, &of.topic), (SIGNAL, of.signal), (STATE, of.state)]);
            }
        },
    },
    Measure {
        name: "faultline.collector.sampling.traces",
        unit: "{trace}",
        help: "Traces that tail sampling decided about: kept ones go to the sinks, those left out rest in the store alone",
        kind: Kind::Counter,
        read: |seen, tell| {
            if let Some(of) = &seen.sampling {
                tell(of.kept.load(Relaxed), &[(OUTCOME, "kept")]);
                tell(of.left_out.load(Relaxed), &[(OUTCOME, "left_out")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.sampling.policy.traces",
        unit: "{trace}",
        help: "Traces that each policy of tail sampling had the say about",
        kind: Kind::Counter,
        read: |seen, tell| {
            for of in seen.sampling.iter().flat_map(|of| of.policies()) {
                let outcome = if of.keeps { "kept" } else { "left_out" };
                tell(of.traces, &[(POLICY, of.name.as_str()), (OUTCOME, outcome)]);
            }
        },
    },
    Measure {
        name: "faultline.collector.sampling.early",
        unit: "{trace}",
        help: "Traces that were decided before their time because too many traces or spans waited",
        kind: Kind::Counter,
        read: |seen, tell| sampling(seen, tell, |of| &of.early),
    },
    Measure {
        name: "faultline.collector.sampling.late",
        unit: "{span}",
        help: "Spans that came after the decision about their trace, which they follow",
        kind: Kind::Counter,
        read: |seen, tell| sampling(seen, tell, |of| &of.late_spans),
    },
    Measure {
        name: "faultline.collector.derived.series",
        unit: "{series}",
        help: "Series of the metrics made of spans, and edges of the service graph",
        kind: Kind::Gauge,
        read: |seen, tell| {
            if let Some(of) = &seen.derived {
                tell(of.span_series.load(Relaxed), &[(DERIVED, "span_metrics")]);
                tell(of.edge_series.load(Relaxed), &[(DERIVED, "service_graph")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.derived.overflowed",
        unit: "{item}",
        help: "Spans and requests that were counted in the series otel.metric.overflow, since the counting began",
        kind: Kind::Gauge,
        read: |seen, tell| {
            if let Some(of) = &seen.derived {
                tell(of.spans_overflowed.load(Relaxed), &[(DERIVED, "span_metrics")]);
                tell(of.edges_overflowed.load(Relaxed), &[(DERIVED, "service_graph")]);
            }
        },
    },
    Measure {
        name: "faultline.collector.derived.untold",
        unit: "{round}",
        help: "Intervals whose points the store had no room for; the next ones have what was counted in them",
        kind: Kind::Counter,
        read: |seen, tell| seen.derived.iter().for_each(|of| tell(of.untold.load(Relaxed), &[])),
    },
    Measure {
        name: "faultline.collector.derived.expired",
        unit: "{span}",
        help: "Sides of requests that the service graph waited with and nothing came for, since the counting began",
        kind: Kind::Gauge,
        read: |seen, tell| seen.derived.iter().for_each(|of| tell(of.expired.load(Relaxed), &[])),
    },
];

fn topics(seen: &Seen) -> impl Iterator<Item = &TopicProgress> {
    seen.kafka_in.iter().flat_map(|reading| &reading.topics)
}

fn each_topic(seen: &Seen, tell: Tell<'_>, value: fn(&TopicProgress) -> u64) {
    topics(seen).for_each(|of| tell(value(of), &[(TOPIC, &of.topic), (SIGNAL, of.signal)]));
}

fn each_processed(seen: &Seen, tell: Tell<'_>, wanted: fn(Processor) -> bool) {
    for Counted { processor, signal, count } in seen.processed.iter().copied().filter(|of| wanted(of.processor)) {
        tell(count, &[(PROCESSOR, processor.name()), (SIGNAL, signal.name())]);
    }
}

fn each_lag(seen: &Seen, tell: Tell<'_>, value: fn(&Lag) -> u64) {
    for of in &seen.sinks {
        if let Some(lag) = &of.lag {
            tell(value(lag), &[(SINK, of.sink), (SIGNAL, of.signal)]);
        }
    }
}

fn sampling(seen: &Seen, tell: Tell<'_>, value: fn(&sampling::Counts) -> &AtomicU64) {
    if let Some(of) = &seen.sampling {
        tell(value(of).load(Relaxed), &[]);
    }
}
