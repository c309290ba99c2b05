//! Counts at the source: after shutdown `made == acknowledged + dropped` for each signal.
//!
//! The exporter reports a partial success as success: what the collector rejected of a request it took counts as
//! acknowledged here. SQL at the other end shows the difference.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCounts {
    /// Items the SDK was handed.
    pub made: u64,
    /// Items given up: the queue was full, or the export failed until its time was over. (If only the answer was
    /// lost, they may be there nevertheless.)
    pub dropped: u64,
    /// Items of requests whose success arrived, those included that the collector rejected in a partial success.
    pub acknowledged: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub service: String,
    pub instance: String,
    pub spans: SignalCounts,
    pub logs: SignalCounts,
    pub points: SignalCounts,
}

/// The running count of one signal.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    made: AtomicU64,
    dropped: AtomicU64,
    acknowledged: AtomicU64,
}

impl Tally {
    pub(crate) fn made(&self, items: u64) {
        self.made.fetch_add(items, Relaxed);
    }

    /// What became of items made.
    pub(crate) fn settled(&self, items: u64, delivered: bool) {
        let counter = if delivered { &self.acknowledged } else { &self.dropped };
        counter.fetch_add(items, Relaxed);
    }

    pub(crate) fn read(&self) -> SignalCounts {
        SignalCounts {
            dropped: self.dropped.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            made: self.made.load(Relaxed),
        }
    }
}
