//! Any process that looks: every durable row exactly once.
//!
//! One version of the manifest says which files and which segments together are the data; within it, a row is in one of
//! them. Segments are read from where the last look ended, so polling costs what is new.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use model::Table;

use crate::hot::SegmentRows;
use crate::layout::Layout;
use crate::manifest::{Manifest, Parquet, Segment};
use crate::trace_index::TraceIndex;
use crate::writer::blocking;
use crate::{StoreError, lock};

/// Manifests tried when files vanish: each one is newer, so a second failure is already unlikely.
const ATTEMPTS_MAX: usize = 5;

/// Reads a folder while another process writes it; takes no lock. Cheap to clone, and clones share the cache of hot rows,
/// which holds what is not compacted yet.
#[derive(Clone, Debug)]
pub struct Reader {
    inner: Arc<Inner>,
}

/// One moment of a table: `files` and `hot` together have every durable row exactly once. Cheap to clone.
///
/// The files stay readable for the writer's `--replaced-age-min-ms` (a little over the longest query), whatever compaction
/// does.
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
    /// The attributes that have a column of their own, each as `attributes['key']`; '' for a column that is not used. The column's
    /// Arrow field names the attribute under [`PROMOTED_KEY`](crate::PROMOTED_KEY).
    pub promoted: Arc<[String]>,
    trace_index: Option<TraceIndex>,
}

impl ColdFile {
    pub(crate) fn of(layout: &Layout, file: &Parquet) -> ColdFile {
        let Parquet { bytes, rows, time_min, time_max, trace_index, .. } = *file;
        let promoted = Arc::clone(&file.promoted);
        ColdFile { path: layout.path(&file.path), bytes, rows, time_min, time_max, promoted, trace_index }
    }

    /// Whether the file may hold rows of one of these traces; `false` is certain. Blocks on the disk for one or two reads of a
    /// few kilobytes. Without an index that can be read the answer is in the rows.
    pub fn may_hold_trace(&self, ids: &[[u8; 16]]) -> bool {
        let Some(index) = &self.trace_index else { return true };
        File::open(&self.path).and_then(|file| index.holds_any(&file, ids)).unwrap_or_else(|error| {
            tracing::warn!(file.path = %self.path.display(), "could not read the trace index of {}: {error}", self.path.display());
            true
        })
    }
}

impl Reader {
    /// A folder with no manifest yet is empty, not an error.
    pub fn open(data_dir: &Path) -> Result<Reader, StoreError> {
        let layout =
            Layout::new(data_dir).map_err(|error| StoreError::read(format!("find {}", data_dir.display()), error))?;
        let inner = Inner { layout, seen: Mutex::default(), hot: Default::default() };
        Ok(Reader { inner: Arc::new(inner) })
    }

    pub async fn snapshot(&self, table: Table) -> Result<Snapshot, StoreError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.snapshot(table)).await
    }
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    seen: Mutex<Option<Seen>>,
    /// By number of the segment, one map per signal, so that signals do not wait for each other.
    hot: [Mutex<HashMap<u64, SegmentRows>>; 3],
}

/// A manifest and the file it was read from.
#[derive(Clone, Debug)]
struct Seen {
    file: FileId,
    manifest: Arc<Manifest>,
    cold: Arc<HashMap<Table, Arc<[ColdFile]>>>,
}

/// Tells one replacement of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Inner {
    fn snapshot(&self, table: Table) -> Result<Snapshot, StoreError> {
        let signal = table.signal();
        let mut segments = lock(&self.hot[signal as usize]);
        let mut vanished = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some(seen) = self.manifest()? else {
                segments.clear();
                return Ok(Snapshot::default());
            };
            match self.hot(&mut segments, &seen.manifest, table) {
                Ok(hot) => {
                    let files = seen.cold.get(&table).cloned().unwrap_or_default();
                    return Ok(Snapshot { files, hot });
                }
                Err((segment, error)) if error.kind() == io::ErrorKind::NotFound => {
                    // Ours was stale. A manifest of the same identity is the newest, and read again all the same.
                    vanished = Some(StoreError::read(format!("read {segment}"), error));
                    lock(&self.seen).take();
                }
                Err((segment, error)) => return Err(StoreError::read(format!("read {segment}"), error)),
            }
        }
        Err(vanished.unwrap_or(StoreError::Closed))
    }

    /// The current manifest, read only when it was replaced.
    fn manifest(&self) -> Result<Option<Seen>, StoreError> {
        let path = self.layout.manifest();
        let mut seen = lock(&self.seen);
        let file = match fs::metadata(&path) {
            Ok(metadata) => FileId::of(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::read(format!("read {}", path.display()), error)),
        };
        if seen.as_ref().is_none_or(|seen| seen.file != file) {
            // Replaced since we asked for its identity: then the next look reads it once more.
            *seen = Manifest::load(&self.layout)?.map(|manifest| Seen {
                file,
                cold: Arc::new(cold_files(&self.layout, &manifest)),
                manifest: Arc::new(manifest),
            });
        }
        Ok(seen.clone())
    }

    fn hot(
        &self,
        cache: &mut HashMap<u64, SegmentRows>,
        manifest: &Manifest,
        table: Table,
    ) -> Result<Arc<[RecordBatch]>, (String, io::Error)> {
        let named: Vec<&Segment> = manifest.segments(table.signal()).collect();
        cache.retain(|number, _| named.iter().any(|segment| segment.number == *number));
        let mut hot = Vec::new();
        for segment in named {
            let path = segment.path();
            let rows = self.segment(cache, segment).map_err(|error| (path, error))?;
            hot.extend(rows.rows(table).cloned());
        }
        Ok(hot.into())
    }

    fn segment<'a>(&self, cache: &'a mut HashMap<u64, SegmentRows>, segment: &Segment) -> io::Result<&'a SegmentRows> {
        use std::collections::hash_map::Entry;
        let rows = match cache.entry(segment.number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(SegmentRows::open(&self.layout.path(&segment.path()))?),
        };
        rows.advance(segment.sealed_bytes)?;
        Ok(rows)
    }
}

impl FileId {
    fn of(metadata: &fs::Metadata) -> FileId {
        FileId {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn cold_files(layout: &Layout, manifest: &Manifest) -> HashMap<Table, Arc<[ColdFile]>> {
    let mut tables: HashMap<Table, Vec<ColdFile>> = HashMap::new();
    for file in &manifest.files {
        tables.entry(file.table).or_default().push(ColdFile::of(layout, file));
    }
    tables.into_iter().map(|(table, files)| (table, files.into())).collect()
}
