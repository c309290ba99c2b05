//! Sealed segments become Parquet: rows by hour of `time`, sorted for the common question.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use model::{Signal, Table};

use crate::faults::Step;
use crate::hot::SegmentRows;
use crate::layout::{self, Partition};
use crate::maintenance::{Stop, Worked, discard};
use crate::manifest::Parquet;
use crate::order::{BATCH_ROWS, Order, times};
use crate::parquet_file::{Effort, ParquetFile};
use crate::recovery::{keep_copy, note_missing};
use crate::shared::Shared;
use crate::{StoreError, caught};

/// Hours one compaction writes files for. Live data is in two; a client that spreads its times over a year must not make
/// thousands of files: what is beyond goes where absurd times go.
const HOURS_MAX: usize = 64;

/// Compacts the oldest sealed segments of a signal, as many as are together one full segment.
pub(crate) fn compact(shared: &Shared, stop: &Stop, signal: Signal) -> Result<Worked, StoreError> {
    let manifest = shared.catalog.current();
    let mut segments = Vec::new();
    let mut bytes_total = 0;
    for segment in manifest.segments(signal) {
        let Some(bytes) = segment.sealed_bytes else { continue };
        bytes_total += bytes;
        if !segments.is_empty() && bytes_total > shared.args.segment_bytes_max {
            break;
        }
        segments.push((segment, bytes));
    }
    if segments.is_empty() {
        return Ok(Worked::No);
    }

    let mut tables: BTreeMap<Table, Vec<RecordBatch>> = BTreeMap::new();
    for (segment, bytes) in &segments {
        let path = shared.layout.path(&segment.path());
        let read = |error| StoreError::read(format!("read {}", path.display()), error);
        let mut rows = match SegmentRows::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                note_missing(shared, &path);
                continue;
            }
            opened => opened.map_err(read)?,
        };
        rows.advance(Some(*bytes)).map_err(read)?;
        if !rows.damage().is_empty() {
            keep_copy(shared, &path, rows.damage()).map_err(read)?;
        }
        for table in signal.tables() {
            tables.entry(*table).or_default().extend(rows.rows(*table).cloned());
        }
    }

    let mut files = Vec::new();
    for (table, batches) in tables {
        // Also after a panic what is finished has no name yet, and the next attempt writes it again.
        let written = caught(|| write_table(shared, stop, table, &batches, &mut files)).flatten();
        if let Err(error) = written {
            discard(shared, &files);
            return Err(StoreError::write(format!("compact {} rows of {}", count(&batches), table.name()), error));
        }
    }
    let swapped = shared.faults.at(Step::SwapFiles).map_err(|error| StoreError::write("swap files", error));
    let swapped = swapped.and_then(|()| {
        shared.catalog.change(|manifest| {
            let since_ms = layout::now_ms();
            for (segment, bytes) in &segments {
                manifest.replace_segment(signal, segment.number, *bytes, since_ms);
            }
            manifest.files.extend(files.iter().cloned());
        })
    });
    if let Err(error) = swapped {
        if !matches!(error, StoreError::Failed(_)) {
            discard(shared, &files);
        }
        return Err(error);
    }
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let (segments, files) = (segments.len(), files.len());
    tracing::debug!("compacted {rows} rows of {} from {segments} segments into {files} files", signal.name());
    shared.compactions.fetch_add(1, Relaxed);
    Ok(Worked::Yes)
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// One file per partition. `files` also has those that were finished before an error.
fn write_table(
    shared: &Shared,
    stop: &Stop,
    table: Table,
    batches: &[RecordBatch],
    files: &mut Vec<Parquet>,
) -> io::Result<()> {
    let order = Order::of(table).map_err(io::Error::other)?;
    let keys = batches.iter().map(|rows| order.keys(rows)).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let sources: Vec<&RecordBatch> = batches.iter().collect();
    for (partition, mut rows) in partitions(batches, layout::now_ns())? {
        rows.sort_unstable_by(|(a, i), (b, j)| keys[*a].row(*i).cmp(&keys[*b].row(*j)));
        let mut file = ParquetFile::create(shared, table, &partition.folder(table), Effort::Fast)?;
        for chunk in rows.chunks(BATCH_ROWS) {
            stop.check()?;
            file.write(&interleave_record_batch(&sources, chunk).map_err(io::Error::other)?)?;
        }
        files.push(file.finish()?);
    }
    let written = files.iter().filter(|file| file.table == table).map(|file| file.rows).sum::<u64>();
    match written == count(batches) as u64 {
        true => Ok(()),
        // Nothing is replaced by less than it was.
        false => Err(io::Error::other(format!("only {written} were written"))),
    }
}

/// Where a row is: index of its batch, index in the batch.
type Place = (usize, usize);

fn partitions(batches: &[RecordBatch], now_ns: i64) -> io::Result<Vec<(Partition, Vec<Place>)>> {
    let mut partitions: HashMap<Partition, Vec<Place>> = HashMap::new();
    for (batch, rows) in batches.iter().enumerate() {
        for (row, time) in times(rows).map_err(io::Error::other)?.iter().enumerate() {
            partitions.entry(Partition::of(*time, now_ns)).or_default().push((batch, row));
        }
    }
    let mut partitions: Vec<_> = partitions.into_iter().collect();
    if partitions.len() > HOURS_MAX {
        // The fullest hours keep their files.
        partitions
            .sort_unstable_by_key(|(partition, rows)| (*partition == Partition::Quarantine, usize::MAX - rows.len()));
        let scattered = partitions.split_off(HOURS_MAX).into_iter().flat_map(|(_, rows)| rows);
        let scattered = scattered.collect();
        partitions.push((Partition::Quarantine, scattered));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::HOUR_NS;

    #[test]
    fn scattered_times_do_not_make_thousands_of_files() {
        let now = layout::now_ns();
        let hours = |count: i64| -> Vec<RecordBatch> {
            let times = (0..count).map(|hour| (now - hour * HOUR_NS, hour as u64));
            let mut rows: Vec<_> = times.collect();
            rows.push((now, 1 << 40));
            vec![crate::rows::spans(&rows).into_rows()]
        };
        let all = |found: &[(Partition, Vec<Place>)]| found.iter().map(|(_, rows)| rows.len()).sum::<usize>();
        let few = partitions(&hours(10), now).unwrap();
        assert_eq!((few.len(), all(&few)), (10, 11));
        let many = partitions(&hours(1000), now).unwrap();
        assert_eq!((many.len(), all(&many)), (HOURS_MAX + 1, 1001));
        assert!(many.iter().any(|(partition, rows)| *partition == Partition::of(now, now) && rows.len() == 2));
    }
}
