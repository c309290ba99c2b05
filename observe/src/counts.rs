//! Counts at the source: after shutdown `made == acknowledged + dropped` for each signal.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCounts {
    /// Items the SDK was handed.
    pub made: u64,
    /// Items that will not arrive: queue full, or export given up.
    pub dropped: u64,
    /// Items in requests the collector answered with success.
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
