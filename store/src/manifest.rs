//! The one file that says what exists. Readers never list a folder; what is not named here is not there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;

use model::{Signal, Table};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::elsewhere::{Copies, Elsewhere};
use crate::faults::{Faults, Step};
use crate::layout::{self, Layout};
use crate::trace_index::TraceIndex;

/// Another number: written by a version this one does not understand.
const FORMAT: u32 = 1;

/// A manifest on disk is `{"crc32c":…,"manifest":…}`: a digit that changed by itself would name a file that is not there, and
/// the file that is there would be removed as nobody's.
const BEFORE_CHECKSUM: &str = "{\"crc32c\":";
const BEFORE_MANIFEST: &str = ",\"manifest\":";
const AFTER_MANIFEST: &str = "}\n";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// Grows by one with every replacement.
    pub(crate) version: u64,
    /// No segment had this number yet. Numbers are never used twice: readers know segments by them.
    pub(crate) next_segment: u64,
    /// Oldest first, within each signal.
    pub(crate) segments: Vec<Segment>,
    pub(crate) files: Vec<Parquet>,
    /// What `promotion` of a file counts in: most files have the same.
    #[serde(default)]
    promotions: Vec<Vec<String>>,
    /// No longer part of the data; deleted when no query can be using them.
    pub(crate) replaced: Vec<Replaced>,
    #[serde(default)]
    pub(crate) copies: Copies,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Segment {
    #[serde(with = "signal_name")]
    pub(crate) signal: Signal,
    pub(crate) number: u64,
    /// How many bytes of the file count, once it is sealed. `None`: being written.
    pub(crate) sealed_bytes: Option<u64>,
    /// Of the whole segment, once it is sealed; nothing is known of those an older version sealed.
    #[serde(default)]
    pub(crate) tally: Tally,
}

/// What cursors want to know of a segment without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    /// When its first frame was written, wall clock.
    pub(crate) first_ms: u64,
}

impl Segment {
    pub(crate) fn path(&self) -> String {
        layout::segment(self.signal, self.number)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parquet {
    #[serde(with = "table_name")]
    pub(crate) table: Table,
    /// Relative to the folder of the manifest.
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Smallest and largest `time`, nanoseconds.
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
    pub(crate) created_ms: u64,
    #[serde(default, skip_serializing_if = "Elsewhere::is_nowhere")]
    pub(crate) elsewhere: Elsewhere,
    /// `None`: its rows belong to no traces, or an older version wrote it; then who looks for a trace looks in the file.
    #[serde(default)]
    pub(crate) trace_index: Option<TraceIndex>,
    /// The attribute in each of its columns for promoted ones, as SQL spells it; '' where there is none. An older version had no
    /// such columns.
    #[serde(skip)]
    pub(crate) promoted: Arc<[String]>,
    /// The place of `promoted` among those of the manifest.
    #[serde(default)]
    pub(crate) promotion: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) since_ms: u64,
    /// Of a segment.
    #[serde(default)]
    pub(crate) tally: Tally,
}

impl Manifest {
    pub(crate) fn empty() -> Manifest {
        let (segments, files, promotions, replaced) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let copies = Copies::default();
        Manifest { format: FORMAT, version: 0, next_segment: 1, segments, files, promotions, replaced, copies }
    }

    /// `None`: there is none.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Manifest>, StoreError> {
        let path = layout.manifest();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::read(format!("read {}", path.display()), error)),
        };
        let damaged = |detail| StoreError::Damaged { path: path.clone(), detail };
        let bytes = checked(&bytes).map_err(damaged)?;
        let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        manifest.tell_promotions().map_err(damaged)?;
        match manifest.format {
            FORMAT => Ok(Some(manifest)),
            other => Err(damaged(format!("its format is {other}, this version reads {FORMAT}"))),
        }
    }

    /// Names what each file has promoted by a number.
    pub(crate) fn number_promotions(&mut self) {
        self.promotions.clear();
        for file in &mut self.files {
            let known = self.promotions.iter().position(|known| **known == *file.promoted);
            file.promotion = (!file.promoted.is_empty()).then(|| {
                known.unwrap_or_else(|| {
                    self.promotions.push(file.promoted.to_vec());
                    self.promotions.len() - 1
                })
            });
        }
    }

    /// The other way round.
    fn tell_promotions(&mut self) -> Result<(), String> {
        let shared: Vec<Arc<[String]>> =
            self.promotions.iter().map(|promoted| Arc::from(promoted.as_slice())).collect();
        for file in &mut self.files {
            let Some(number) = file.promotion else { continue };
            let promoted = shared.get(number).ok_or_else(|| format!("it lacks promotion {number}"))?;
            file.promoted = Arc::clone(promoted);
        }
        Ok(())
    }

    /// Replaces the file. An error leaves the old one in place, except [`Unsure`](Stored::Unsure).
    pub(crate) fn store(&self, layout: &Layout, faults: &Faults) -> io::Result<Stored> {
        let path = layout.manifest();
        let temporary = layout::temporary(&path);
        let manifest = serde_json::to_string(self)?;
        let checksum = crc32c::crc32c(manifest.as_bytes());
        let text = format!("{BEFORE_CHECKSUM}{checksum}{BEFORE_MANIFEST}{manifest}{AFTER_MANIFEST}");
        faults.at(Step::WriteManifest)?;
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        faults.at(Step::RenameManifest)?;
        fs::rename(&temporary, &path)?;
        Ok(match faults.at(Step::SyncManifest).and_then(|()| sync_folder(layout.root())) {
            Ok(()) => Stored::Durable,
            Err(error) => Stored::Unsure(error),
        })
    }

    pub(crate) fn segments(&self, signal: Signal) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.signal == signal)
    }

    /// Takes a segment out of the data.
    pub(crate) fn replace_segment(&mut self, signal: Signal, number: u64, bytes: u64, since_ms: u64) {
        let is_it = |segment: &Segment| (segment.signal, segment.number) == (signal, number);
        let tally = self.segments.iter().find(|segment| is_it(segment)).map_or_else(Tally::default, |it| it.tally);
        self.segments.retain(|segment| !is_it(segment));
        self.replaced.push(Replaced { path: layout::segment(signal, number), bytes, since_ms, tally });
    }

    /// One Parquet file for the rows of others.
    pub(crate) fn merge_files(&mut self, inputs: &HashSet<&str>, mut output: Parquet, since_ms: u64) {
        let merged = self.files.iter().filter(|file| inputs.contains(file.path.as_str()));
        output.elsewhere = Elsewhere::of_merged(merged);
        self.replace_files(inputs, since_ms);
        self.files.push(output);
    }

    /// Takes Parquet files out of the data.
    pub(crate) fn replace_files(&mut self, paths: &HashSet<&str>, since_ms: u64) {
        let (gone, kept) = std::mem::take(&mut self.files).into_iter().partition(|file| paths.contains(&*file.path));
        self.files = kept;
        let gone: Vec<Parquet> = gone;
        let tally = Tally::default();
        let replaced = gone.into_iter().map(|file| Replaced { path: file.path, bytes: file.bytes, since_ms, tally });
        self.replaced.extend(replaced);
    }

    /// Every file that may lie in the folder, in the data or not yet deleted.
    pub(crate) fn paths(&self) -> HashSet<String> {
        let segments = self.segments.iter().map(Segment::path);
        let files = self.files.iter().map(|file| file.path.clone());
        segments.chain(files).chain(self.replaced.iter().map(|gone| gone.path.clone())).collect()
    }
}

/// The manifest in what is on the disk, unchanged since it was written.
fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    let Some(rest) = bytes.strip_prefix(BEFORE_CHECKSUM.as_bytes()) else {
        // Written before there was a checksum, or it will not parse.
        return Ok(bytes);
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (checksum, rest) = rest.split_at(digits);
    let manifest = rest
        .strip_prefix(BEFORE_MANIFEST.as_bytes())
        .and_then(|rest| rest.strip_suffix(AFTER_MANIFEST.as_bytes()))
        .ok_or("it ends early")?;
    if crc32c::crc32c(manifest).to_string().as_bytes() != checksum {
        return Err("its checksum does not match".to_owned());
    }
    Ok(manifest)
}

/// The manifest in the file at `path` without its checksum, as an older version wrote it: to be changed and written back.
#[cfg(test)]
pub(crate) fn text(path: &std::path::Path) -> String {
    String::from_utf8(checked(&fs::read(path).unwrap()).unwrap().to_vec()).unwrap()
}

/// What became of a manifest that was renamed into place.
pub(crate) enum Stored {
    Durable,
    /// Readers see it, but after a power loss it may be the old one again.
    Unsure(io::Error),
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(path: &std::path::Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;

    #[test]
    fn what_files_have_promoted_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path()).unwrap();
        fs::create_dir_all(layout.root()).unwrap();
        let file = |key: &str| Parquet {
            table: Table::Logs,
            path: String::new(),
            rows: 1,
            bytes: 1,
            time_min: 0,
            time_max: 0,
            created_ms: 0,
            elsewhere: Default::default(),
            trace_index: None,
            promoted: if key.is_empty() { Arc::default() } else { Arc::from([format!("attributes['{key}']")]) },
            promotion: None,
        };
        let mut manifest = Manifest::empty();
        manifest.files = ["route", "", "status", "route", "status"].map(file).to_vec();
        manifest.number_promotions();
        manifest.store(&layout, &Faults::default()).unwrap();
        let written = fs::read_to_string(layout.manifest()).unwrap();
        assert_eq!(written.matches("route").count(), 1, "{written}");
        assert_eq!(Manifest::load(&layout).unwrap(), Some(manifest));
        fs::write(layout.manifest(), text(&layout.manifest()).replace("\"promotion\":1", "\"promotion\":2")).unwrap();
        let error = Manifest::load(&layout).unwrap_err().to_string();
        assert!(error.contains("it lacks promotion 2"), "{error}");
    }
}

mod signal_name {
    use model::Signal;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(signal: &Signal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(signal.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signal, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Signal::ALL.into_iter().find(|signal| signal.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("unknown signal {name}")))
    }
}

mod table_name {
    use model::Table;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(table: &Table, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(table.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
        let name = String::deserialize(deserializer)?;
        Table::from_name(&name).ok_or_else(|| D::Error::custom(format!("unknown table {name}")))
    }
}
