//! How much room the disk has. Short of it requests are refused before the disk itself refuses: compaction, which makes room,
//! needs some first.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock;

/// How long a measurement counts. At 300 MB/s a disk loses less than the smallest reserve in this time.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    measured: Mutex<Option<(Instant, u64)>>,
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Disk {
        Disk { root: root.to_owned(), measured: Mutex::default() }
    }

    /// Bytes free for us. What cannot be measured is no reason to refuse anything: a write will say.
    pub(crate) fn free_bytes(&self) -> u64 {
        let mut measured = lock(&self.measured);
        if let Some((when, bytes)) = *measured
            && when.elapsed() < MEASURE_EVERY
        {
            return bytes;
        }
        let bytes =
            rustix::fs::statvfs(&self.root).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        *measured = Some((Instant::now(), bytes));
        bytes
    }

    /// A write found no room, whatever was measured: a quota, for instance. Until the next measurement there is none.
    pub(crate) fn found_full(&self) {
        *lock(&self.measured) = Some((Instant::now(), 0));
    }
}
