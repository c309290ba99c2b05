//! One line a minute in the log, however much arrives.

use std::sync::Arc;
use std::time::Duration;

use model::Signal;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Counts, Outcome};
use crate::collector::Collector;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

pub(crate) async fn summarize(collector: Arc<Collector>, stop: CancellationToken) {
    let mut clock = tokio::time::interval(INTERVAL);
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
            requests.denied = now.denied - before.denied,
            requests.invalid = now.invalid - before.invalid,
            queue.bytes = queue.unwritten_bytes,
            "kept {} spans, {} log records and {} points in a minute; refused {} requests, denied {}, {} made no sense; \
             {} of {} bytes wait",
            now.spans - before.spans,
            now.logs - before.logs,
            now.points - before.points,
            now.refused - before.refused,
            now.denied - before.denied,
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
    denied: u64,
    invalid: u64,
}

impl Summary {
    fn of(counts: &Counts) -> Summary {
        Summary {
            spans: counts.items_accepted(Signal::Traces),
            logs: counts.items_accepted(Signal::Logs),
            points: counts.items_accepted(Signal::Metrics),
            refused: counts.requests_of_all(Outcome::Refused),
            denied: counts.requests_of_all(Outcome::Denied),
            invalid: counts.requests_of_all(Outcome::Invalid),
        }
    }
}
