//! Counters since the start of the process, one set a signal. Nothing is counted twice, and nothing is logged here.

use std::sync::atomic::{AtomicU64, Ordering};

use model::Signal;

use crate::refusal::Refusal;

/// Counters since the start of the process.
#[derive(Default)]
pub(crate) struct Counts {
    signals: [SignalCounts; Signal::ALL.len()],
}

#[derive(Default)]
struct SignalCounts {
    requests: [AtomicU64; Outcome::ALL.len()],
    items_accepted: AtomicU64,
    items_rejected: AtomicU64,
}

/// What became of a request; each ends in exactly one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Durable.
    Accepted,
    /// It was durable already: the same bytes, sent again.
    Repeated,
    /// No room now, or over the client's rate: it comes again.
    Refused,
    /// From nobody we know.
    Denied,
    /// It made no sense, was too large or broke off.
    Invalid,
    /// A defect of ours.
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 6] =
        [Outcome::Accepted, Outcome::Repeated, Outcome::Refused, Outcome::Denied, Outcome::Invalid, Outcome::Failed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Repeated => "repeated",
            Outcome::Refused => "refused",
            Outcome::Denied => "denied",
            Outcome::Invalid => "invalid",
            Outcome::Failed => "failed",
        }
    }

    fn of(refusal: &Refusal) -> Outcome {
        match refusal {
            Refusal::Busy { .. } | Refusal::Limited { .. } => Outcome::Refused,
            Refusal::Stranger { .. } => Outcome::Denied,
            Refusal::Internal => Outcome::Failed,
            _ => Outcome::Invalid,
        }
    }
}

impl Counts {
    pub(crate) fn accepted(&self, signal: Signal, items: u64, rejected: u64) {
        let counts = &self.signals[signal as usize];
        counts.requests[Outcome::Accepted as usize].fetch_add(1, Ordering::Relaxed);
        counts.items_accepted.fetch_add(items, Ordering::Relaxed);
        counts.items_rejected.fetch_add(rejected, Ordering::Relaxed);
    }

    /// Its items were counted the first time.
    pub(crate) fn repeated(&self, signal: Signal) {
        let requests = &self.signals[signal as usize].requests;
        requests[Outcome::Repeated as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, signal: Signal, refusal: &Refusal) {
        let requests = &self.signals[signal as usize].requests;
        requests[Outcome::of(refusal) as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.signals[signal as usize].requests[outcome as usize].load(Ordering::Relaxed)
    }

    /// Spans, log records or points that are durable.
    pub(crate) fn items_accepted(&self, signal: Signal) -> u64 {
        self.signals[signal as usize].items_accepted.load(Ordering::Relaxed)
    }

    /// Those left out of requests that were accepted.
    pub(crate) fn items_rejected(&self, signal: Signal) -> u64 {
        self.signals[signal as usize].items_rejected.load(Ordering::Relaxed)
    }

    /// Requests of all signals with that outcome.
    pub(crate) fn requests_of_all(&self, outcome: Outcome) -> u64 {
        Signal::ALL.into_iter().map(|signal| self.requests(signal, outcome)).sum()
    }
}
