//! Sealed segments become Parquet: rows by hour of `time`, sorted for the common question.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use model::{Signal, Table};

use crate::faults::Step;
use crate::frame::{Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::layout::{self, Partition};
use crate::maintenance::{Stop, Worked, discard};
use crate::manifest::{Parquet, Segment};
use crate::packed::Packed;
use crate::parquet_file::{GROUP_ROWS_MAX, ParquetFile, Shape};
use crate::payload::Decoded;
use crate::promotion::Promotion;
use crate::recovery::{keep_copy, note_missing};
use crate::shared::Shared;
use crate::sorting::{Place, Sorting};
use crate::{StoreError, caught, lock};

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
        if lock(&shared.unreadable).contains(&segment.path()) {
            continue;
        }
        bytes_total += bytes;
        if !segments.is_empty() && bytes_total > shared.args.segment_bytes_max {
            break;
        }
        segments.push((segment, bytes));
    }
    if segments.is_empty() {
        return Ok(Worked::No);
    }

    let mut tables: BTreeMap<Table, Vec<Packed>> = BTreeMap::new();
    for (segment, bytes) in &segments {
        if let Err(error) = read(shared, segment, *bytes, &mut tables) {
            // The others are compacted without it in the next round; its rows stay where readers may still get at them.
            shared.set_aside(segment.path(), &error);
            return Ok(Worked::Yes);
        }
    }
    let mut files = Vec::new();
    for (table, frames) in tables {
        // Also after a panic what is finished has no name yet, and the next attempt writes it again.
        let written = caught(|| write_table(shared, stop, table, &frames, &mut files)).flatten();
        if let Err(error) = written {
            discard(shared, &files);
            return Err(StoreError::write(format!("compact {} rows of {}", count(&frames), table.name()), error));
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

/// The rows of a segment, still packed: together they take what the segment takes on disk.
fn read(shared: &Shared, segment: &Segment, bytes: u64, tables: &mut BTreeMap<Table, Vec<Packed>>) -> io::Result<()> {
    let path = shared.layout.path(&segment.path());
    shared.faults.at(Step::ReadSegment)?;
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note_missing(shared, &path);
            return Ok(());
        }
        opened => opened?,
    };
    let mut damage = Vec::new();
    match Salt::read(&file)? {
        None => damage.push(0..bytes),
        Some(salt) => {
            let offset = SEGMENT_HEADER_BYTES as u64;
            let mut frames = Frames { file: &file, salt, mode: Mode::Sealed, offset, end: bytes };
            let mut decoded = Decoded::new(&mut frames);
            while let Some(rows) = decoded.next()? {
                for (table, rows, _) in rows {
                    tables.entry(table).or_default().push(rows);
                }
            }
            damage.extend(decoded.damage);
        }
    }
    match damage.is_empty() {
        true => Ok(()),
        false => keep_copy(shared, &path, &damage),
    }
}

fn count(frames: &[Packed]) -> usize {
    frames.iter().map(Packed::num_rows).sum()
}

/// One file per partition. `files` also has those that were finished before an error.
fn write_table(
    shared: &Shared,
    stop: &Stop,
    table: Table,
    frames: &[Packed],
    files: &mut Vec<Parquet>,
) -> io::Result<()> {
    let sorting = Sorting::new(table, frames).map_err(io::Error::other)?;
    let places = sorting.places().map_err(io::Error::other)?;
    let before = newest_promotion(shared, table);
    for (partition, mut rows) in partitions(places, layout::now_ns()) {
        let shape = Shape::of(table, frames, rows.len(), &before);
        let mut file = ParquetFile::create(shared, table, &partition.folder(table), &shape)?;
        // Groups follow each other in time and are sorted within: spans of a trace stay together.
        let groups = rows.len().div_ceil(GROUP_ROWS_MAX);
        let group_rows = rows.len().div_ceil(groups.max(1)).max(1);
        for group in rows.chunks_mut(group_rows) {
            sorting.sort(group);
            let mut left = &*group;
            while !left.is_empty() {
                stop.check()?;
                let (next, rest) = left.split_at(sorting.batch_rows(left));
                file.write(&sorting.batch(next).map_err(io::Error::other)?)?;
                left = rest;
            }
            file.end_group()?;
        }
        files.push(file.finish()?);
    }
    let written = files.iter().filter(|file| file.table == table).map(|file| file.rows).sum::<u64>();
    match written == count(frames) as u64 {
        true => Ok(()),
        // Nothing is replaced by less than it was.
        false => Err(io::Error::other(format!("only {written} were written"))),
    }
}

/// What the file before had columns for, so that the next one mostly has the same.
fn newest_promotion(shared: &Shared, table: Table) -> Promotion {
    let manifest = shared.catalog.current();
    let files = manifest.files.iter().filter(|file| file.table == table);
    let newest = files.max_by_key(|file| file.created_ms);
    newest.map_or_else(Promotion::default, |file| Promotion::parse(&file.promoted))
}

fn partitions(places: Vec<Place>, now_ns: i64) -> Vec<(Partition, Vec<Place>)> {
    let mut partitions: HashMap<Partition, Vec<Place>> = HashMap::new();
    for place in places {
        partitions.entry(Partition::of(place.time, now_ns)).or_default().push(place);
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
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::HOUR_NS;

    #[test]
    fn scattered_times_do_not_make_thousands_of_files() {
        let now = layout::now_ns();
        let hours = |count: i64| -> Vec<Place> {
            let times = (0..count).map(|hour| (now - hour * HOUR_NS, hour as u64));
            let mut rows: Vec<_> = times.collect();
            rows.push((now, 1 << 40));
            let rows = crate::rows::spans(&rows);
            let frames = [Packed::new(Table::Spans, rows.rows()).unwrap()];
            Sorting::new(Table::Spans, &frames).unwrap().places().unwrap()
        };
        let all = |found: &[(Partition, Vec<Place>)]| found.iter().map(|(_, rows)| rows.len()).sum::<usize>();
        let few = partitions(hours(10), now);
        assert_eq!((few.len(), all(&few)), (10, 11));
        let many = partitions(hours(1000), now);
        assert_eq!((many.len(), all(&many)), (HOURS_MAX + 1, 1001));
        assert!(many.iter().any(|(partition, rows)| *partition == Partition::of(now, now) && rows.len() == 2));
    }
}
