//! Settings of the query part, each with its unit, default and reason.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the query part is told at its start.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Folder with the telemetry; the same one a collector writes. Read only, no lock is taken.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Where SQL and traces are answered over HTTP.
    #[arg(long, env = "FAULTLINE_QUERY_LISTEN", default_value = "127.0.0.1:7317")]
    pub query_listen: SocketAddr,
    #[command(flatten)]
    pub limits: Limits,
}

/// Bounds of what one question, and all questions together, may cost.
#[derive(clap::Args, Clone, Debug)]
pub struct Limits {
    /// Memory for sorts, joins and groups of all running queries together, in bytes. One GiB leaves half of a small
    /// machine to the other parts; beyond it sorts and groups spill to temporary files, joins fail with a sentence.
    #[arg(long, env = "FAULTLINE_QUERY_MEMORY_BYTES_MAX", default_value_t = 1 << 30)]
    pub query_memory_bytes_max: usize,
    /// Bytes of temporary files of all running queries together. Four GiB: a sort of a day fits, a disk survives.
    /// With 0 nothing is spilled.
    #[arg(long, env = "FAULTLINE_QUERY_SPILL_BYTES_MAX", default_value_t = 4 << 30)]
    pub query_spill_bytes_max: u64,
    /// Longest time one query may take, in seconds, waiting for its turn included. Must stay below the time the store keeps
    /// replaced files, so that no file disappears under a query.
    #[arg(long, env = "FAULTLINE_QUERY_SECONDS_MAX", default_value_t = 50)]
    pub query_seconds_max: u64,
    /// Most rows in one answer. A larger answer is an error, never cut: add LIMIT or a narrower time.
    #[arg(long, env = "FAULTLINE_QUERY_ANSWER_ROWS_MAX", default_value_t = 1_000_000)]
    pub query_answer_rows_max: usize,
    /// Most bytes in one answer as encoded (JSON, CSV or Arrow). JSON and CSV are held in memory until complete, so that the
    /// status code can still say that a query failed.
    #[arg(long, env = "FAULTLINE_QUERY_ANSWER_BYTES_MAX", default_value_t = 256 << 20)]
    pub query_answer_bytes_max: usize,
    /// Queries that run at the same time. Each uses all cores, so more would only share them; the next ones wait.
    #[arg(long, env = "FAULTLINE_QUERY_CONCURRENT_MAX", default_value_t = 4)]
    pub query_concurrent_max: usize,
    /// Queries that may wait for their turn; one more is answered 503 with a retry delay.
    #[arg(long, env = "FAULTLINE_QUERY_WAITING_MAX", default_value_t = 64)]
    pub query_waiting_max: usize,
}

impl Limits {
    pub(crate) fn time_max(&self) -> Duration {
        Duration::from_secs(self.query_seconds_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            query_memory_bytes_max: 1 << 30,
            query_spill_bytes_max: 4 << 30,
            query_seconds_max: 50,
            query_answer_rows_max: 1_000_000,
            query_answer_bytes_max: 256 << 20,
            query_concurrent_max: 4,
            query_waiting_max: 64,
        }
    }
}
