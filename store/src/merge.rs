//! Small files of one folder become one: eight of similar size at a time while a folder grows, all of them once it is quiet.
//! Rows of small row groups are sorted together; large ones are copied as they are, which costs next to nothing.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::Rows;
use model::{Batch, Table};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::faults::Step;
use crate::layout::{self, folder};
use crate::maintenance::{Stop, Worked, discard};
use crate::manifest::{Manifest, Parquet};
use crate::order::{BATCH_ROWS, Order};
use crate::parquet_file::{GROUP_BYTES_LARGE, GROUP_ROWS_LARGE, GROUP_ROWS_MAX, ParquetFile, Shape, Source};
use crate::promotion::Promotion;
use crate::shared::Shared;
use crate::{StoreError, lock};

/// Files of similar size that are merged into one; also the ratio between sizes that are not similar.
const FAN_IN: usize = 8;
/// Files read at once; each costs its pages in memory.
const INPUTS_MAX: usize = 16;
/// A merged file has no more than this. Larger files would save nothing and cost more to rewrite.
const FILE_ROWS_MAX: u64 = 2_000_000;
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A folder that got no file for this long is merged whole.
const QUIET_AFTER_MS: u64 = 15 * 60 * 1000;
/// Decoded rows of all inputs held at a time.
const MEMORY_BYTES: u64 = 32 << 20;

/// One merge, if one is due.
pub(crate) fn merge(shared: &Shared, stop: &Stop) -> Result<Worked, StoreError> {
    let manifest = shared.catalog.current();
    let due = select(&manifest, layout::now_ms(), &lock(&shared.unreadable));
    let Some(inputs) = due else { return Ok(Worked::No) };
    let output = match write(shared, stop, &inputs) {
        Ok(output) => output,
        Err(Failure::Read { path, error }) => {
            shared.set_aside(path, &error);
            return Ok(Worked::Yes);
        }
        Err(Failure::Write(error)) => {
            return Err(StoreError::write(
                format!("merge {} files of {}", inputs.len(), folder(&inputs[0].path)),
                error,
            ));
        }
    };
    let swapped = shared.faults.at(Step::SwapMerged).map_err(|error| StoreError::write("swap files", error));
    let swapped = swapped.and_then(|()| {
        shared.catalog.change(|manifest| {
            let gone = inputs.iter().map(|file| file.path.as_str()).collect();
            manifest.merge_files(&gone, output.clone(), layout::now_ms());
        })
    });
    if let Err(error) = swapped {
        if !matches!(error, StoreError::Failed(_)) {
            discard(shared, &[output]);
        }
        return Err(error);
    }
    tracing::debug!("merged {} files into {} with {} rows", inputs.len(), output.path, output.rows);
    shared.merges.fetch_add(1, Relaxed);
    Ok(Worked::Yes)
}

/// Files of one folder worth merging, smallest first.
fn select(manifest: &Manifest, now_ms: u64, unreadable: &HashSet<String>) -> Option<Vec<Parquet>> {
    let mut folders: BTreeMap<&str, Vec<&Parquet>> = BTreeMap::new();
    for file in manifest.files.iter().filter(|file| !unreadable.contains(&file.path)) {
        folders.entry(folder(&file.path)).or_default().push(file);
    }
    folders.into_values().find_map(|mut files| {
        let newest_ms = files.iter().map(|file| file.created_ms).max()?;
        let quiet = now_ms.saturating_sub(newest_ms) > QUIET_AFTER_MS;
        files.sort_unstable_by_key(|file| file.rows);
        let tier = match quiet {
            true => u32::MAX,
            false => crowded_tier(&files)?,
        };
        let small = files.into_iter().filter(|file| tier_of(file.rows) <= tier);
        let (mut rows, mut bytes) = (0, 0);
        let fitting = small.take_while(|file| {
            rows += file.rows;
            bytes += file.bytes;
            rows <= FILE_ROWS_MAX && bytes <= FILE_BYTES_MAX
        });
        let inputs: Vec<Parquet> = fitting.take(INPUTS_MAX).cloned().collect();
        (inputs.len() >= if quiet { 2 } else { FAN_IN }).then_some(inputs)
    })
}

/// Files of one tier differ in rows by less than [`FAN_IN`] times, so a merge of that many leaves the tier.
fn tier_of(rows: u64) -> u32 {
    rows.max(1).ilog(FAN_IN as u64)
}

/// The smallest tier with enough files.
fn crowded_tier(files: &[&Parquet]) -> Option<u32> {
    let mut tiers: BTreeMap<u32, usize> = BTreeMap::new();
    for file in files {
        *tiers.entry(tier_of(file.rows)).or_default() += 1;
    }
    tiers.into_iter().find(|(_, files)| *files >= FAN_IN).map(|(tier, _)| tier)
}

enum Failure {
    Read { path: String, error: io::Error },
    Write(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Write(error)
    }
}

/// What becomes one row group of the merged file.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Large enough: its bytes are copied.
    Copy(GroupId),
    /// Rows of these are sorted together.
    Sort(Vec<GroupId>),
}

/// A row group: index of its file, index in the file.
type GroupId = (usize, usize);

/// Groups with their rows and bytes, in the order of their times. Neighbours are sorted together until a group is full, so
/// that each group stays a slice of time: spans of one trace are in one or two, and the longer a row rests the less often it
/// is encoded again.
fn plan(groups: impl Iterator<Item = (GroupId, usize, usize)>) -> Vec<Piece> {
    let (mut pieces, mut small, mut small_rows) = (Vec::new(), Vec::new(), 0);
    let sort = |small: &mut Vec<GroupId>, pieces: &mut Vec<Piece>| match std::mem::take(small).as_slice() {
        [] => {}
        [one] => pieces.push(Piece::Copy(*one)),
        many => pieces.push(Piece::Sort(many.to_vec())),
    };
    for (group, rows, bytes) in groups {
        if rows >= GROUP_ROWS_LARGE || bytes >= GROUP_BYTES_LARGE {
            pieces.push(Piece::Copy(group));
            continue;
        }
        if small_rows + rows > GROUP_ROWS_MAX {
            sort(&mut small, &mut pieces);
            small_rows = 0;
        }
        small.push(group);
        small_rows += rows;
    }
    sort(&mut small, &mut pieces);
    pieces
}

fn write(shared: &Shared, stop: &Stop, files: &[Parquet]) -> Result<Parquet, Failure> {
    let table = files[0].table;
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        let source = Source::open(shared, file);
        sources.push(source.map_err(|error| Failure::Read { path: file.path.clone(), error })?);
    }
    sources.sort_by_key(|source| (source.time_min, source.time_max));
    let groups = sources.iter().enumerate().flat_map(|(file, source)| {
        let groups = source.metadata.row_groups().iter().enumerate();
        groups.map(move |(index, group)| ((file, index), group.num_rows() as usize, group.compressed_size() as usize))
    });
    let pieces = plan(groups);
    let rows = files.iter().map(|file| file.rows as usize).sum();
    let group = sources.iter().find_map(|source| source.metadata.row_groups().first());
    let promotion = promotion(files);
    let shape = match group {
        Some(group) => Shape::like(table, group, rows, promotion),
        None => Shape::of(table, &[], rows, &promotion),
    };
    shared.faults.at(Step::WriteMerged)?;
    let mut output = ParquetFile::create(shared, table, folder(&files[0].path), &shape)?;
    for piece in &pieces {
        match piece {
            Piece::Copy((file, group)) => {
                stop.check()?;
                let source = &sources[*file];
                source.check(*group).map_err(|error| source.failure(error))?;
                let derived = output.derive(source, *group).map_err(|error| source.failure(error))?;
                output.copy_group(source, *group, derived)?;
            }
            Piece::Sort(groups) => sort(stop, table, &sources, groups, &mut output)?,
        }
        output.end_group()?;
    }
    let output = output.finish()?;
    let (wanted, rows) = (files.iter().map(|file| file.rows).sum::<u64>(), output.rows);
    match rows == wanted {
        true => Ok(output),
        // Nothing is replaced by less than it was.
        false => {
            discard(shared, &[output]);
            Err(io::Error::other(format!("{wanted} rows became {rows}")).into())
        }
    }
}

/// The promoted attributes that most rows of these files have: their groups are copied with those columns.
fn promotion(files: &[Parquet]) -> Promotion {
    let mut rows: BTreeMap<&[String], u64> = BTreeMap::new();
    for file in files {
        *rows.entry(&file.promoted).or_default() += file.rows;
    }
    let most = rows.into_iter().max_by_key(|(_, rows)| *rows);
    most.map_or_else(Promotion::default, |(promoted, _)| Promotion::parse(promoted))
}

/// Merges sorted groups in one pass, holding one batch of each.
fn sort(
    stop: &Stop,
    table: Table,
    sources: &[Source],
    groups: &[GroupId],
    output: &mut ParquetFile,
) -> Result<(), Failure> {
    let order = Order::of(table).map_err(io::Error::other)?;
    let bytes = MEMORY_BYTES / groups.len() as u64;
    let mut inputs = Vec::with_capacity(groups.len());
    for (file, group) in groups {
        inputs.extend(Input::open(table, &sources[*file], *group, &order, bytes)?);
    }
    let mut pending: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
    // A few inputs: looking at each is quicker than keeping a heap.
    while let Some(first) = (0..inputs.len()).min_by(|a, b| inputs[*a].key().cmp(&inputs[*b].key())) {
        pending.push((first, inputs[first].row));
        inputs[first].row += 1;
        let exhausted = inputs[first].row == inputs[first].rows.num_rows();
        if !exhausted && pending.len() < BATCH_ROWS {
            continue;
        }
        stop.check()?;
        let rows: Vec<&RecordBatch> = inputs.iter().map(|input| &input.rows).collect();
        output.write(&interleave_record_batch(&rows, &pending).map_err(io::Error::other)?)?;
        pending.clear();
        if exhausted && !inputs[first].refill(&order)? {
            inputs.remove(first);
        }
    }
    Ok(())
}

impl Source {
    fn failure(&self, error: io::Error) -> Failure {
        Failure::Read { path: self.path.clone(), error }
    }
}

/// A group being merged: its current batch and the next row of it.
struct Input<'a> {
    table: Table,
    source: &'a Source,
    reader: ParquetRecordBatchReader,
    rows: RecordBatch,
    keys: Rows,
    row: usize,
}

impl<'a> Input<'a> {
    /// `None`: the group has no rows.
    fn open(
        table: Table,
        source: &'a Source,
        group: usize,
        order: &Order,
        bytes: u64,
    ) -> Result<Option<Input<'a>>, Failure> {
        let failure = |error| source.failure(io::Error::other(error));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&source.metadata), ArrowReaderOptions::new());
        let metadata = metadata.map_err(failure)?;
        let file = source.file.try_clone().map_err(|error| source.failure(error))?;
        let batch_rows = (bytes / row_bytes(source.metadata.row_group(group))).clamp(1, BATCH_ROWS as u64) as usize;
        // Promoted attributes are in their maps too, and the other file may have columns for others.
        let own = ProjectionMask::roots(metadata.parquet_schema(), 0..table.columns().len());
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(vec![group])
            .with_projection(own)
            .with_batch_size(batch_rows)
            .build()
            .map_err(failure)?;
        let rows = RecordBatch::new_empty(table.schema().clone());
        let keys = order.keys(&rows).map_err(io::Error::other)?;
        let mut input = Input { table, source, reader, rows, keys, row: 0 };
        Ok(input.refill(order)?.then_some(input))
    }

    fn key(&self) -> arrow::row::Row<'_> {
        self.keys.row(self.row)
    }

    /// `false`: that was all.
    fn refill(&mut self, order: &Order) -> Result<bool, Failure> {
        let failure = |error| self.source.failure(error);
        let Some(rows) = self.reader.find(|rows| !matches!(rows, Ok(rows) if rows.num_rows() == 0)) else {
            return Ok(false);
        };
        let rows = rows.map_err(|error| failure(io::Error::other(error)))?;
        let batch = Batch::new(self.table, rows).map_err(|error| failure(io::Error::other(error)))?;
        self.rows = batch.into_rows();
        self.keys = order.keys(&self.rows).map_err(io::Error::other)?;
        self.row = 0;
        Ok(true)
    }
}

/// What a row of `group` takes decoded, at least 1. A page counts a text that repeats once; every row of a batch has it again.
pub(crate) fn row_bytes(group: &RowGroupMetaData) -> u64 {
    let decoded = |column: &ColumnChunkMetaData| {
        column.uncompressed_size().max(column.unencoded_byte_array_data_bytes().unwrap_or(0))
    };
    let bytes: i64 = group.columns().iter().map(decoded).sum();
    (bytes / group.num_rows().max(1)).max(1) as u64
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    const NOW_MS: u64 = 1_796_025_600_000;

    /// Rows of the files of one folder, and rows of those that would be merged.
    fn check(quiet: bool, rows: &[u64], merged: &[u64]) {
        let created_ms = if quiet { NOW_MS - QUIET_AFTER_MS - 1 } else { NOW_MS };
        let mut manifest = Manifest::empty();
        manifest.files = rows
            .iter()
            .enumerate()
            .map(|(index, rows)| Parquet {
                table: Table::Spans,
                path: format!("spans/date=2026-11-30/hour=08/{index}.parquet"),
                rows: *rows,
                bytes: rows * 50,
                time_min: 0,
                time_max: 0,
                created_ms,
                elsewhere: Default::default(),
                trace_index: None,
                promoted: Default::default(),
                promotion: None,
            })
            .collect();
        let selected = select(&manifest, NOW_MS, &HashSet::new()).unwrap_or_default();
        assert_eq!(selected.iter().map(|file| file.rows).collect::<Vec<_>>(), merged, "of {rows:?}");
    }

    #[test]
    fn a_text_that_repeats_counts_in_every_row() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000); 500]));
        let rows = RecordBatch::try_from_iter([("text", text)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        let metadata = writer.finish().unwrap();
        let bytes = row_bytes(metadata.row_group(0));
        assert!((1000..1100).contains(&bytes), "{bytes}");
    }

    #[test]
    fn small_groups_are_sorted_together_and_large_ones_copied() {
        use super::Piece::{Copy, Sort};
        let (large, third) = (GROUP_ROWS_LARGE, GROUP_ROWS_LARGE - 1);
        let of = |rows: &[usize]| plan(rows.iter().enumerate().map(|(file, rows)| ((file, 0), *rows, *rows)));
        assert_eq!(of(&[large, 10, large, 20]), [Copy((0, 0)), Copy((2, 0)), Sort(vec![(1, 0), (3, 0)])]);
        assert_eq!(
            of(&[third, third, third, third, 9]),
            [Sort(vec![(0, 0), (1, 0), (2, 0)]), Sort(vec![(3, 0), (4, 0)])]
        );
        assert_eq!(of(&[large, 9]), [Copy((0, 0)), Copy((1, 0))]);
        assert_eq!(plan([((0, 0), 10, GROUP_BYTES_LARGE)].into_iter()), [Copy((0, 0))]);
    }

    #[test]
    fn eight_similar_files_are_merged_with_what_is_smaller() {
        check(false, &[100; 7], &[]);
        check(false, &[100; 8], &[100; 8]);
        check(false, &[100, 100, 100, 100, 100, 100, 100, 100, 5000, 3], &[3, 100, 100, 100, 100, 100, 100, 100, 100]);
        check(false, &[100, 100, 100, 100, 5000, 5000, 5000, 5000], &[]);
    }

    #[test]
    fn a_quiet_folder_is_merged_whole_up_to_the_cap() {
        check(true, &[100, 5], &[5, 100]);
        check(true, &[100], &[]);
        check(true, &[1_500_000, 1_500_000], &[]);
        check(true, &[1_500_000, 1_500_000, 10], &[10, 1_500_000]);
    }

    #[test]
    fn files_per_folder_stay_few_however_many_are_added() {
        let mut files: Vec<u64> = Vec::new();
        for _ in 0..1800 {
            files.push(500);
            files.sort_unstable();
            while let Some(tier) =
                (0..9).find(|tier| files.iter().filter(|rows| tier_of(**rows) == *tier).count() >= FAN_IN)
            {
                let small = files.iter().filter(|rows| tier_of(**rows) <= tier).count().min(INPUTS_MAX);
                let merged = files.drain(..small).sum();
                files.push(merged);
                files.sort_unstable();
            }
            assert!(files.len() < 4 * FAN_IN, "{files:?}");
        }
    }
}
