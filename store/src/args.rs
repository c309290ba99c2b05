//! Every setting of the store: its unit, its default and the reason for it.

use std::path::PathBuf;
use std::time::Duration;

use crate::Repeats;

/// Settings of the process that writes.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Folder of all data; telemetry rests in `telemetry/` below it
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// Seal a segment at this size, bytes; what one compaction holds in memory about twice. Fewer make row groups too small to stay
    #[arg(long, env = "FAULTLINE_SEGMENT_BYTES_MAX", default_value_t = 48 << 20)]
    pub segment_bytes_max: u64,

    /// Seal a segment at this age, milliseconds; shorter makes more small files, longer makes queries read more of the log
    #[arg(long, env = "FAULTLINE_SEGMENT_AGE_MAX_MS", default_value_t = 10_000)]
    pub segment_age_max_ms: u64,

    /// Wait this long for requests already being decoded to share an fsync, milliseconds; an idle log never waits
    #[arg(long, env = "FAULTLINE_COMMIT_DELAY_MAX_MS", default_value_t = 2)]
    pub commit_delay_max_ms: u64,

    /// Write a group of requests at this size, bytes; beyond a few MiB a larger group makes an fsync no cheaper
    #[arg(long, env = "FAULTLINE_COMMIT_BYTES_MAX", default_value_t = 8 << 20)]
    pub commit_bytes_max: usize,

    /// Rows received and not yet durable, bytes of memory over all signals; beyond it requests are refused. Two requests of the largest size
    #[arg(long, env = "FAULTLINE_UNWRITTEN_BYTES_MAX", default_value_t = 128 << 20)]
    pub unwritten_bytes_max: usize,

    /// Requests received and not yet durable, per signal; beyond it requests are refused
    #[arg(long, env = "FAULTLINE_UNWRITTEN_REQUESTS_MAX", default_value_t = 8192)]
    pub unwritten_requests_max: usize,

    /// Segments on disk, bytes; beyond it requests are refused. Queries hold the rows of all of them in memory, about three times that
    #[arg(long, env = "FAULTLINE_LOG_BYTES_MAX", default_value_t = 1 << 30)]
    pub log_bytes_max: u64,

    /// Segments kept for sinks that are behind, bytes of disk beside the log; beyond it the oldest leave, and the sink counts their rows
    /// as lost. At 1 MB of log a second, over an hour of a dead sink
    #[arg(long, env = "FAULTLINE_LOG_HELD_BYTES_MAX", default_value_t = 4 << 30)]
    pub log_held_bytes_max: u64,

    /// Leave this much of the disk free, bytes; short of it requests are refused. Compaction needs some of it to make room
    #[arg(long, env = "FAULTLINE_DISK_FREE_BYTES_MIN", default_value_t = 512 << 20)]
    pub disk_free_bytes_min: u64,

    /// Keep rows this long after they happened, hours; everything when not set. Whole files leave, an hour's at a time
    #[arg(long, env = "FAULTLINE_RETENTION_HOURS")]
    pub retention_hours: Option<u64>,

    /// Keep this much Parquet, bytes; beyond it the oldest files leave. No limit when not set
    #[arg(long, env = "FAULTLINE_RETENTION_BYTES")]
    pub retention_bytes: Option<u64>,

    /// Keep Parquet files that merging replaced for this long, milliseconds; a little over the 60 s a query may run, which may still read it
    #[arg(long, env = "FAULTLINE_REPLACED_AGE_MIN_MS", default_value_t = 75_000)]
    pub replaced_age_min_ms: u64,

    /// Whether the same request is kept once, for those that say what it is (see [`crate::Filled::once`]). Whoever writes decides;
    /// there is no flag
    #[arg(skip)]
    pub repeats: Option<Repeats>,
}

impl Args {
    /// The defaults on a folder: for tests and for programs without a command line.
    pub fn new(data_dir: impl Into<PathBuf>) -> Args {
        Args {
            data_dir: data_dir.into(),
            segment_bytes_max: 48 << 20,
            segment_age_max_ms: 10_000,
            commit_delay_max_ms: 2,
            commit_bytes_max: 8 << 20,
            unwritten_bytes_max: 128 << 20,
            unwritten_requests_max: 8192,
            log_bytes_max: 1 << 30,
            log_held_bytes_max: 4 << 30,
            disk_free_bytes_min: 512 << 20,
            retention_hours: None,
            retention_bytes: None,
            replaced_age_min_ms: 75_000,
            repeats: None,
        }
    }

    pub(crate) fn segment_age_max(&self) -> Duration {
        Duration::from_millis(self.segment_age_max_ms)
    }

    pub(crate) fn commit_delay_max(&self) -> Duration {
        Duration::from_millis(self.commit_delay_max_ms)
    }
}
