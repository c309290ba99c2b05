//! What can go wrong, one variant for each decision somebody can make.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Stop the other process, or use another folder.
    #[error("{path} is being written by another process, pid {pid}; stop it or choose another --data-dir")]
    Locked { path: PathBuf, pid: String },

    /// A person has to look: going on could delete data.
    #[error("{path} is damaged: {detail}")]
    Damaged { path: PathBuf, detail: String },

    /// Nothing is promised about these rows: the client sends them again.
    #[error("could not {attempt}")]
    Write {
        attempt: String,
        #[source]
        source: std::sync::Arc<io::Error>,
    },

    /// The query fails; the next may succeed.
    #[error("could not {attempt}")]
    Read {
        attempt: String,
        #[source]
        source: std::sync::Arc<io::Error>,
    },

    /// These rows cannot be stored, now or later: sending them again is pointless.
    #[error("could not encode rows: {0}")]
    Rows(String),

    /// The store is shutting down: send it to the next process.
    #[error("the store is closed")]
    Closed,

    /// The disk broke a promise: nothing is accepted until a restart.
    #[error("the store failed and waits for a restart: {0}")]
    Failed(String),
}

impl StoreError {
    pub(crate) fn write(attempt: impl Into<String>, source: impl Into<io::Error>) -> StoreError {
        StoreError::Write { attempt: attempt.into(), source: std::sync::Arc::new(source.into()) }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::Write { source, .. } if is_disk_full(&**source))
    }

    pub(crate) fn read(attempt: impl Into<String>, source: impl Into<io::Error>) -> StoreError {
        StoreError::Read { attempt: attempt.into(), source: std::sync::Arc::new(source.into()) }
    }
}

/// Whether the disk had no room: those who passed the error on may have wrapped it.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let Some(io) = error.downcast_ref::<io::Error>() else { return error.source().is_some_and(is_disk_full) };
    matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || io.get_ref().is_some_and(|wrapped| is_disk_full(wrapped))
}

/// The store cannot take a request now. Nothing was kept; the client may try again after `retry_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, retry in {} ms", retry_after.as_millis())]
pub struct Full {
    pub reason: FullReason,
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FullReason {
    /// More was received than the disk took in the meantime.
    #[error("too many rows wait to be written")]
    Memory,
    /// Compaction is behind, or the disk is.
    #[error("the log has reached its size on disk")]
    Disk,
    /// Somebody has to make room; nothing that was answered is in danger.
    #[error("the disk is full")]
    DiskFull,
    /// Shutting down.
    #[error("the store is closed")]
    Closed,
    /// See [`StoreError::Failed`].
    #[error("the store failed and waits for a restart")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_through_what_wraps_it() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let parquet = parquet::errors::ParquetError::from(full());
        for error in [full(), io::Error::other(full()), io::Error::other(parquet)] {
            assert!(StoreError::write("write", error).is_disk_full());
        }
        assert!(!StoreError::write("write", io::Error::other("no space left")).is_disk_full());
        assert!(!StoreError::read("read", full()).is_disk_full());
    }
}
