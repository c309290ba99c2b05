//! What `/health` and the metrics say about the store.

use serde::Serialize;

use crate::Lag;

/// A moment of the writer. Counters count from the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Status {
    /// One each for traces, logs and metrics, in this order.
    pub signals: Vec<SignalStatus>,
    /// Bytes of memory reserved by requests that are not durable yet, and their limit.
    pub unwritten_bytes: u64,
    pub unwritten_bytes_max: u64,
    /// Bytes of all segments on disk, and their limit.
    pub log_bytes: u64,
    pub log_bytes_max: u64,
    /// Bytes of those among them that only a sink still needs, and their limit: beyond it the oldest leave. They do not count
    /// towards `log_bytes_max`, so that no sink makes the store refuse.
    pub held_bytes: u64,
    pub held_bytes_max: u64,
    /// Bytes free on the disk, and what is left free.
    pub disk_free_bytes: u64,
    pub disk_free_bytes_min: u64,
    /// Why requests are refused now, in words; empty while they are taken.
    pub refusing: String,
    /// How far each sink is behind, in each signal: in the log, or in the Parquet files when it copies those.
    pub cursors: Vec<Lag>,
    /// Parquet files named by the manifest, with their rows and bytes.
    pub files: u64,
    pub file_rows: u64,
    pub file_bytes: u64,
    /// Files and segments that left the manifest and wait for the last query that may use them.
    pub replaced: u64,
    pub manifest_version: u64,
    pub compactions: u64,
    pub merges: u64,
    /// Milliseconds that the round of compaction at work has taken; 0 while none is. A large merge takes a minute.
    pub compacting_ms: u64,
    /// Rows that left because they were older or more than what is kept.
    pub expired_rows: u64,
    /// The most recent failure of any part, in words; empty when there was none.
    pub last_error: String,
    /// What was found damaged, where the copy is, what was kept. Somebody should look.
    pub damaged: Vec<String>,
    /// The store accepts nothing until a restart.
    pub failed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SignalStatus {
    pub signal: &'static str,
    /// Requests reserved or waiting for their fsync, and their limit.
    pub unwritten_requests: u64,
    pub unwritten_requests_max: u64,
    /// Durable requests that are remembered, so that they are not kept twice, and their limit; 0 when nobody asked for it.
    pub known_requests: u64,
    pub known_requests_max: u64,
    /// Requests refused because memory, the queue or the disk was full.
    pub refused: u64,
    /// Group commits (one fsync each), and the requests, rows and bytes in them.
    pub commits: u64,
    pub requests: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Milliseconds that the group commit at work has taken; 0 while none is. An fsync takes milliseconds, on a struggling
    /// disk seconds.
    pub committing_ms: u64,
    /// Sealed segments that wait for compaction.
    pub segments_sealed: u64,
}
