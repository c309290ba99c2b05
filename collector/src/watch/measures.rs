//! Every figure of the collector, once: its name, unit and help, and where it is read. `/metrics` and the exporter tell the same.

use model::Signal;

use store::Lag;

use super::{Outcome, Seen};

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

pub(crate) const MEASURES: &[Measure] = &[
    Measure {
        name: "faultline.collector.requests",
        unit: "{request}",
        help: "Export requests by outcome: accepted, refused (full or over a rate), denied (no credentials), invalid, failed",
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
        help: "Rows of each sink by outcome: delivered, or refused by the far end for good",
        kind: Kind::Counter,
        read: |seen, tell| {
            for of in &seen.sinks {
                tell(of.rows_delivered, &[(SINK, of.sink), (SIGNAL, of.signal), (OUTCOME, "delivered")]);
                tell(of.rows_refused, &[(SINK, of.sink), (SIGNAL, of.signal), (OUTCOME, "refused")]);
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
];

fn each_lag(seen: &Seen, tell: Tell<'_>, value: fn(&Lag) -> u64) {
    for of in &seen.sinks {
        if let Some(lag) = &of.lag {
            tell(value(lag), &[(SINK, of.sink), (SIGNAL, of.signal)]);
        }
    }
}
