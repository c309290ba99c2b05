//! How much the processors changed, masked and dropped since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Signal;

/// In the order they work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    Attributes,
    Filter,
    Sampling,
    Redaction,
}

impl Processor {
    pub(crate) const ALL: [Processor; 4] =
        [Processor::Attributes, Processor::Filter, Processor::Sampling, Processor::Redaction];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Processor::Attributes => "attributes",
            Processor::Filter => "filter",
            Processor::Sampling => "sampling",
            Processor::Redaction => "redaction",
        }
    }
}

/// Of attributes the records changed, once a rule; of redaction the values masked; of the others the records dropped.
#[derive(Default)]
pub(crate) struct Counts([[AtomicU64; Signal::ALL.len()]; Processor::ALL.len()]);

impl Counts {
    pub(super) fn add(&self, processor: Processor, signal: Signal, count: u64) {
        if count > 0 {
            self.0[processor as usize][signal as usize].fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn of(&self, processor: Processor, signal: Signal) -> u64 {
        self.0[processor as usize][signal as usize].load(Relaxed)
    }
}
