//! What may wait to be written: counted before a request is decoded, given back when it is durable or dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::Signal;

use crate::shared::Shared;
use crate::{Full, FullReason};

/// Long enough for a few commits to make room.
const RETRY_AFTER_MEMORY: Duration = Duration::from_secs(1);
/// Room on disk comes from compaction and deletion, which take longer.
const RETRY_AFTER_DISK: Duration = Duration::from_secs(5);

/// Room for one request. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    signal: Signal,
    bytes: usize,
    decoding: bool,
}

impl Place {
    pub(crate) fn take(shared: &Arc<Shared>, signal: Signal, bytes: usize) -> Result<Place, Full> {
        let taken = Self::check(shared, bytes).and_then(|()| Self::count(shared, signal, bytes));
        if let Err(full) = taken {
            shared.counters(signal).refused.fetch_add(1, Relaxed);
            return Err(full);
        }
        Ok(Place { shared: Arc::clone(shared), signal, bytes, decoding: true })
    }

    /// Why a request of `bytes` would be refused, its own place in the queue aside.
    pub(crate) fn check(shared: &Shared, bytes: usize) -> Result<(), Full> {
        if shared.closed.load(Relaxed) {
            return Err(Full { reason: FullReason::Closed, retry_after: RETRY_AFTER_MEMORY });
        }
        if shared.catalog.check().is_err() {
            return Err(Full { reason: FullReason::Failed, retry_after: RETRY_AFTER_DISK });
        }
        if shared.disk.free_bytes() < shared.args.disk_free_bytes_min {
            return Err(Full { reason: FullReason::DiskFull, retry_after: RETRY_AFTER_DISK });
        }
        let coming = (shared.unwritten_bytes.load(Relaxed) + bytes) as u64;
        let log_bytes = shared.log_bytes.load(Relaxed).saturating_sub(shared.held_bytes.load(Relaxed));
        if log_bytes.saturating_add(coming) > shared.args.log_bytes_max {
            return Err(Full { reason: FullReason::Disk, retry_after: RETRY_AFTER_DISK });
        }
        Ok(())
    }

    fn count(shared: &Shared, signal: Signal, bytes: usize) -> Result<(), Full> {
        let full = |_| Full { reason: FullReason::Memory, retry_after: RETRY_AFTER_MEMORY };
        let counters = shared.counters(signal);
        let requests_max = shared.args.unwritten_requests_max;
        let one_more = |requests: usize| (requests < requests_max).then_some(requests + 1);
        counters.requests_unwritten.fetch_update(Relaxed, Relaxed, one_more).map_err(full)?;
        let bytes_max = shared.args.unwritten_bytes_max;
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= bytes_max);
        if let Err(taken) = shared.unwritten_bytes.fetch_update(Relaxed, Relaxed, more) {
            counters.requests_unwritten.fetch_sub(1, Relaxed);
            return Err(full(taken));
        }
        counters.requests_decoding.fetch_add(1, Relaxed);
        Ok(())
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// The request is decoded and takes `bytes`. More than reserved is let through: it is in memory already, and the next
    /// reservation pays for it.
    pub(crate) fn decoded(&mut self, bytes: usize) {
        self.stop_decoding();
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.shared.unwritten_bytes.fetch_add(more, Relaxed);
            self.bytes = bytes;
        }
    }

    fn stop_decoding(&mut self) {
        if std::mem::take(&mut self.decoding) {
            self.shared.counters(self.signal).requests_decoding.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop_decoding();
        self.shared.counters(self.signal).requests_unwritten.fetch_sub(1, Relaxed);
        self.shared.unwritten_bytes.fetch_sub(self.bytes, Relaxed);
    }
}
