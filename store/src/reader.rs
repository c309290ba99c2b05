//! Any process that looks: every durable row exactly once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use model::Table;

use crate::StoreError;

/// Reads a folder while another process writes it; takes no lock. Cheap to clone, and clones share the cache of hot rows.
#[derive(Clone)]
pub struct Reader {}

/// One moment of a table: `files` and `hot` together have every durable row exactly once. Cheap to clone.
///
/// The files stay readable for the writer's `--replaced-age-min-ms` (60 s) at least, whatever compaction does.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub files: Arc<[ColdFile]>,
    pub hot: Arc<[RecordBatch]>,
}

/// A Parquet file with the bounds that spare opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdFile {
    /// Absolute.
    pub path: PathBuf,
    pub bytes: u64,
    pub rows: u64,
    /// Smallest and largest value of column `time`, both inclusive, nanoseconds.
    pub time_min: i64,
    pub time_max: i64,
}

impl Reader {
    /// A folder with no manifest yet is empty, not an error.
    pub fn open(_data_dir: &Path) -> Result<Reader, StoreError> {
        todo!()
    }

    pub async fn snapshot(&self, _table: Table) -> Result<Snapshot, StoreError> {
        todo!()
    }
}
