//! `/health`: whether the process does its work. `/ready`: whether it takes requests now. Both with what they were judged by.
//!
//! They are two questions: a full disk is no reason to restart the collector, and one to send elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{COMPACTION, Seen, Worker};
use crate::collector::Collector;

/// Compaction is at one round for so long only when it is stuck; a large merge takes a minute.
const COMPACTION_TIME_MAX: Duration = Duration::from_secs(600);

/// How it goes, best first. The first two are healthy, only the first is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Ok,
    /// The store takes nothing now; it goes on by itself once there is room.
    Full,
    /// Told to stop: what was begun is finished, nothing new is taken.
    Stopping,
    /// A worker does not come back from what it does.
    Stuck,
    /// The disk broke a promise; a restart looks at what is left.
    Failed,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Condition::Ok => "ok",
            Condition::Full => "full",
            Condition::Stopping => "stopping",
            Condition::Stuck => "stuck",
            Condition::Failed => "failed",
        }
    }
}

/// 200 unless only a restart, or a look at the machine, would help.
pub(crate) async fn health(State(collector): State<Arc<Collector>>) -> (StatusCode, Json<Value>) {
    answer(&collector, |condition| !matches!(condition, Condition::Stuck | Condition::Failed))
}

/// 200 while requests are taken.
pub(crate) async fn ready(State(collector): State<Arc<Collector>>) -> (StatusCode, Json<Value>) {
    answer(&collector, |condition| condition == Condition::Ok)
}

fn answer(collector: &Collector, good: fn(Condition) -> bool) -> (StatusCode, Json<Value>) {
    let seen = Seen::of(collector);
    let stopping = collector.stopping.load(Ordering::Relaxed);
    let (condition, reasons) = judge(&seen, collector.limits.stuck_time_min(), stopping);
    let code = if good(condition) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = json!({
        "status": condition.name(),
        "reasons": reasons,
        "store": seen.store,
        "in_flight": seen.in_flight,
        "connections": seen.ports,
        "decoders": seen.decoders,
        // What of these fails is told here and changes nothing above: receiving goes on.
        "sinks": seen.sinks,
        "kafka_in": seen.kafka_in,
    });
    (code, Json(report))
}

/// The worst of what is the case, and a sentence for each of it.
fn judge(seen: &Seen, stuck_time_min: Duration, stopping: bool) -> (Condition, Vec<String>) {
    let mut reasons = Vec::new();
    let mut worst = Condition::Ok;
    if !seen.store.refusing.is_empty() {
        worst = Condition::Full;
        reasons.push(seen.store.refusing.clone());
    }
    if stopping {
        worst = Condition::Stopping;
        reasons.push("it was told to stop".to_owned());
    }
    let stuck = seen.workers().into_iter().filter(|worker| is_stuck(worker, stuck_time_min));
    for Worker { name, busy_ms } in stuck {
        worst = Condition::Stuck;
        reasons.push(format!("{name} has been at one piece of work for {} s", busy_ms / 1000));
    }
    if seen.store.failed {
        worst = Condition::Failed;
    }
    (worst, reasons)
}

fn is_stuck(worker: &Worker, time_min: Duration) -> bool {
    let time_min = if worker.name == COMPACTION { time_min.max(COMPACTION_TIME_MAX) } else { time_min };
    Duration::from_millis(worker.busy_ms) >= time_min
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use super::*;
    use crate::args::test_limits;
    use crate::gate::Gate;
    use crate::port::PortCounts;
    use crate::watch::Decoders;

    fn seen(change: impl FnOnce(&mut Seen)) -> (&'static str, Vec<String>) {
        let limits = test_limits();
        let signal = |signal| store::SignalStatus { signal, ..Default::default() };
        let store = store::Status { signals: ["traces", "logs", "metrics"].map(signal).to_vec(), ..Default::default() };
        let mut seen = Seen {
            counts: Arc::default(),
            in_flight: Gate::new(&limits).in_flight(),
            store,
            ports: from_fn(|_| PortCounts::grpc(&limits).port()),
            clients: Vec::new(),
            decoders: Decoders { busy: 0, busy_max: 2, busy_ms: 0 },
            processed: Vec::new(),
            sinks: Vec::new(),
            kafka_in: None,
            derived: None,
            sampling: None,
        };
        change(&mut seen);
        let (condition, reasons) = judge(&seen, limits.stuck_time_min(), false);
        (condition.name(), reasons)
    }

    #[test]
    fn a_worker_that_does_not_come_back_is_named() {
        assert_eq!(seen(|_| {}), ("ok", vec![]));
        assert_eq!(seen(|seen| seen.decoders.busy_ms = 29_999).0, "ok");
        let stuck = seen(|seen| seen.decoders.busy_ms = 31_000);
        assert_eq!(stuck, ("stuck", vec!["decoder has been at one piece of work for 31 s".to_owned()]));
        let stuck = seen(|seen| seen.store.signals[1].committing_ms = 95_000);
        assert_eq!(stuck, ("stuck", vec!["commit-logs has been at one piece of work for 95 s".to_owned()]));
        assert_eq!(seen(|seen| seen.store.compacting_ms = 120_000).0, "ok", "a large merge takes its time");
        assert_eq!(seen(|seen| seen.store.compacting_ms = 700_000).0, "stuck");
    }

    #[test]
    fn the_worst_is_told_with_every_reason() {
        assert_eq!(
            seen(|seen| seen.store.refusing = "the disk is full".into()),
            ("full", vec!["the disk is full".into()])
        );
        let (condition, reasons) = seen(|seen| {
            seen.store.refusing = "the disk is full".into();
            seen.store.signals[0].committing_ms = 60_000;
        });
        assert_eq!((condition, reasons.len()), ("stuck", 2));
        assert_eq!(seen(|seen| seen.store.failed = true).0, "failed");
    }
}
