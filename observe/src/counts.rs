//! Counts at the source: after shutdown `made == acknowledged + dropped` for each signal.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCounts {
    /// Items the SDK was handed.
    pub made: u64,
    /// Items that will not arrive: queue full, rejected by the collector, or export given up.
    pub dropped: u64,
    /// Items the collector took: its success arrived.
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

    pub(crate) fn dropped(&self, items: u64) {
        self.dropped.fetch_add(items, Relaxed);
    }

    pub(crate) fn acknowledged(&self, items: u64) {
        self.acknowledged.fetch_add(items, Relaxed);
    }

    pub(crate) fn read(&self) -> SignalCounts {
        SignalCounts {
            dropped: self.dropped.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            made: self.made.load(Relaxed),
        }
    }
}
