//! What was decided, row by row of the log, for the sinks; and trace by trace, for the spans that come late.
//!
//! A row is known by its segment and its number in it, so a verdict is a bit, and an hour of spans is a few megabytes of them.
//! They are in a file a segment, durable before the sampler's place moves beyond their rows, which is how far sinks read. So a
//! range that comes again has the same verdicts, whatever the policies are by then. A file goes when its segment has gone.
//!
//! Decisions about traces are in two files that take turns: when the second is full, the first begins anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use arrow::array::{BooleanArray, BooleanBufferBuilder};
use arrow::compute::filter_record_batch;
use model::Batch;
use model::ids::TraceId;
use store::Handover;

const MASK: &str = ".mask";
const DECIDED: [&str; 2] = ["decided-0.log", "decided-1.log"];
/// Of a record: checksum, bytes and number of what follows, number of its first.
const HEAD_BYTES: usize = 20;
/// A trace id and what becomes of it.
const DECISION_BYTES: usize = 17;

pub(crate) struct Verdicts {
    folder: PathBuf,
    masks: Mutex<BTreeMap<u64, Mask>>,
}

/// Bits of the rows of a segment, in order.
struct Mask {
    bits: BooleanBufferBuilder,
    log: Log,
}

/// What follows in rows of a segment.
pub(super) struct Settled {
    pub(super) segment: u64,
    pub(super) first_row: u64,
    pub(super) keeps: Vec<bool>,
}

impl Verdicts {
    pub(super) fn open(folder: &Path) -> io::Result<Verdicts> {
        let mut masks = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(MASK));
            let Some(segment) = name.and_then(|name| name.parse().ok()) else { continue };
            let mut bits = BooleanBufferBuilder::new(0);
            let log = Log::open(path, |count, first, content| {
                (content.len() == count.div_ceil(8))
                    .then(|| append(&mut bits, first, count, |at| content[at / 8] >> (at % 8) & 1 == 1))
            })?;
            masks.insert(segment, Mask { bits, log });
        }
        Ok(Verdicts { folder: folder.to_owned(), masks: Mutex::new(masks) })
    }

    /// How many rows of a segment have a verdict.
    pub(super) fn rows(&self, segment: u64) -> u64 {
        self.masks().get(&segment).map_or(0, |mask| mask.bits.len() as u64)
    }

    /// The verdict on a row, when there is one.
    pub(super) fn of(&self, segment: u64, row: u64) -> Option<bool> {
        let masks = self.masks();
        let bits = &masks.get(&segment)?.bits;
        ((row as usize) < bits.len()).then(|| bits.get_bit(row as usize))
    }

    /// Returns when they survive a power loss. Rows that have a verdict keep it.
    pub(super) fn settle(&self, settled: &Settled) -> io::Result<()> {
        let Settled { segment, first_row, keeps } = settled;
        let mut masks = self.masks();
        if !masks.contains_key(segment) {
            let log = Log::open(self.folder.join(format!("{segment}{MASK}")), |_, _, _| None)?;
            masks.insert(*segment, Mask { bits: BooleanBufferBuilder::new(0), log });
        }
        let Some(mask) = masks.get_mut(segment) else { return Ok(()) };
        let known = (mask.bits.len() as u64).saturating_sub(*first_row).min(keeps.len() as u64);
        let new = &keeps[known as usize..];
        if new.is_empty() {
            return Ok(());
        }
        let mut content = vec![0_u8; new.len().div_ceil(8)];
        for (at, _) in new.iter().enumerate().filter(|(_, keep)| **keep) {
            content[at / 8] |= 1 << (at % 8);
        }
        let first = first_row + known;
        mask.log.append(new.len(), first, &content)?;
        append(&mut mask.bits, first, new.len(), |at| new[at]);
        Ok(())
    }

    /// The range with the rows that go on. A row without a verdict does: its mask was lost, and losing the row as well would be worse.
    pub(crate) fn sampled(&self, handover: &Handover) -> anyhow::Result<Handover> {
        let rows = handover.rows as usize;
        let mut keeps = BooleanBufferBuilder::new(rows);
        {
            let masks = self.masks();
            let mask = masks.get(&handover.segment).map(|mask| &mask.bits);
            let first = handover.first_row as usize;
            for row in first..first + rows {
                keeps.append(mask.is_none_or(|bits| row >= bits.len() || bits.get_bit(row)));
            }
        }
        let keeps = BooleanArray::new(keeps.finish(), None);
        let (mut batches, mut from) = (Vec::new(), 0);
        for batch in handover.batches.iter() {
            let kept = filter_record_batch(batch.rows(), &keeps.slice(from, batch.num_rows()))
                .context("could not leave out what was not sampled")?;
            from += batch.num_rows();
            if kept.num_rows() > 0 {
                batches.push(Batch::new(batch.table(), kept)?);
            }
        }
        let mut sampled = handover.clone();
        sampled.batches = handover.batches.replaced(batches);
        sampled.rows = sampled.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(sampled)
    }

    /// Segments before this one are read by nobody.
    pub(super) fn forget(&self, before: u64) -> io::Result<()> {
        let mut masks = self.masks();
        while let Some(oldest) = masks.first_entry()
            && *oldest.key() < before
        {
            remove(&oldest.get().log.path)?;
            oldest.remove();
        }
        Ok(())
    }

    fn masks(&self) -> MutexGuard<'_, BTreeMap<u64, Mask>> {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bits from row `first` on; what lies before it and is not known goes on.
fn append(bits: &mut BooleanBufferBuilder, first: u64, count: usize, keep: impl Fn(usize) -> bool) {
    bits.append_n((first as usize).saturating_sub(bits.len()), true);
    (0..count).for_each(|at| bits.append(keep(at)));
}

/// The decisions about traces, on disk.
pub(super) struct Decisions {
    logs: [Log; 2],
    /// The one that is written.
    current: usize,
    /// Each file has half of it at least before the other begins anew.
    max: usize,
    len: usize,
}

impl Decisions {
    /// With what was decided, oldest first.
    pub(super) fn open(folder: &Path, max: usize) -> io::Result<(Decisions, Vec<(TraceId, bool)>)> {
        let mut found: [(u64, Vec<(TraceId, bool)>); 2] = Default::default();
        let mut logs = Vec::new();
        for (name, (turn, decided)) in DECIDED.iter().zip(&mut found) {
            logs.push(Log::open(folder.join(name), |count, first, content| {
                (content.len() == count * DECISION_BYTES).then(|| {
                    *turn = first;
                    decided.extend(
                        content
                            .chunks_exact(DECISION_BYTES)
                            .filter_map(|entry| Some((entry[..16].try_into().ok()?, entry[16] != 0))),
                    );
                })
            })?);
        }
        let current = usize::from(found[1].0 > found[0].0);
        let len = found[current].1.len();
        let [second, first] =
            if current == 0 { found } else { [std::mem::take(&mut found[1]), std::mem::take(&mut found[0])] };
        let decided = first.1.into_iter().chain(second.1).collect();
        let logs = logs.try_into().map_err(|_| io::Error::other("there are two files of decisions"))?;
        Ok((Decisions { logs, current, max, len }, decided))
    }

    /// Returns when they survive a power loss.
    pub(super) fn add(&mut self, decided: &[(TraceId, bool)]) -> io::Result<()> {
        if decided.is_empty() {
            return Ok(());
        }
        let turn = self.logs[self.current].first.max(1);
        let turn = if self.len > self.max / 2 {
            self.logs[1 - self.current].clear()?;
            (self.current, self.len) = (1 - self.current, 0);
            turn + 1
        } else {
            turn
        };
        let content: Vec<u8> =
            decided.iter().flat_map(|(id, keep)| id.iter().copied().chain([u8::from(*keep)])).collect();
        self.logs[self.current].append(decided.len(), turn, &content)?;
        self.len += decided.len();
        Ok(())
    }
}

/// A file of records, each checked. A torn end is written over.
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Of the last record.
    first: u64,
}

impl Log {
    /// `each` gets the records in order, and says whether one makes sense: with the first that does not the file ends.
    fn open(path: PathBuf, mut each: impl FnMut(usize, u64, &[u8]) -> Option<()>) -> io::Result<Log> {
        let new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if new && let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let content = fs::read(&path)?;
        let (mut at, mut last) = (0, 0);
        while let Some((count, first, record, end)) = record(&content, at) {
            if each(count, first, record).is_none() {
                break;
            }
            (at, last) = (end, first);
        }
        Ok(Log { path, file, bytes: at as u64, first: last })
    }

    fn append(&mut self, count: usize, first: u64, content: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(HEAD_BYTES + content.len());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&(content.len() as u32).to_le_bytes());
        record.extend_from_slice(&(count as u32).to_le_bytes());
        record.extend_from_slice(&first.to_le_bytes());
        record.extend_from_slice(content);
        let sum = checksum(&record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&record, self.bytes)?;
        self.file.sync_data()?;
        self.bytes += record.len() as u64;
        self.first = first;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }
}

/// Number, first number, content and end of the record at `at`, when it is whole.
fn record(file: &[u8], at: usize) -> Option<(usize, u64, &[u8], usize)> {
    let (head, rest) = file.get(at..)?.split_at_checked(HEAD_BYTES)?;
    let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    let (sum, bytes, count) = (number(0)?, number(4)? as usize, number(8)? as usize);
    let first = u64::from_le_bytes(head.get(12..20)?.try_into().ok()?);
    let content = rest.get(..bytes)?;
    let end = at + head.len() + bytes;
    (checksum(&file[at + 4..end]) == sum).then_some((count, first, content, end))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(segment: u64, first_row: u64, bits: &str) -> Settled {
        Settled { segment, first_row, keeps: bits.chars().map(|bit| bit == '1').collect() }
    }

    fn bits(verdicts: &Verdicts, segment: u64) -> String {
        (0..).map_while(|row| verdicts.of(segment, row)).map(|keep| if keep { '1' } else { '0' }).collect()
    }

    #[test]
    fn verdicts_are_there_after_a_start_and_never_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let verdicts = Verdicts::open(folder.path()).expect("an empty folder");
        for part in [settled(3, 0, "1011"), settled(3, 4, "000000001"), settled(7, 0, "01")] {
            verdicts.settle(&part).expect("the disk works");
        }
        verdicts.settle(&settled(3, 2, "00000000000011")).expect("what is known stays");
        for verdicts in [verdicts, Verdicts::open(folder.path()).expect("they were written")] {
            assert_eq!((bits(&verdicts, 3), bits(&verdicts, 7)), ("1011000000001011".into(), "01".into()));
        }
    }

    #[test]
    fn rows_of_which_nothing_is_known_go_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let verdicts = Verdicts::open(folder.path()).expect("an empty folder");
        verdicts.settle(&settled(1, 3, "00")).expect("the disk works");
        assert_eq!(bits(&verdicts, 1), "11100");
        assert_eq!(bits(&Verdicts::open(folder.path()).expect("it was written"), 1), "11100");
    }

    #[test]
    fn a_torn_end_is_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let verdicts = Verdicts::open(folder.path()).expect("an empty folder");
        verdicts.settle(&settled(1, 0, "10")).expect("the disk works");
        verdicts.settle(&settled(1, 2, "11")).expect("the disk works");
        let path = folder.path().join("1.mask");
        let whole = fs::read(&path).expect("it is there");
        for cut in whole.len() / 2 + 1..whole.len() {
            fs::write(&path, &whole[..cut]).expect("it can be cut");
            let verdicts = Verdicts::open(folder.path()).expect("a torn end is no error");
            assert_eq!(bits(&verdicts, 1), "10", "{cut}");
            verdicts.settle(&settled(1, 2, "011")).expect("the disk works");
            assert_eq!(bits(&Verdicts::open(folder.path()).expect("whole again"), 1), "10011");
        }
    }

    #[test]
    fn masks_go_with_their_segments() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let verdicts = Verdicts::open(folder.path()).expect("an empty folder");
        for segment in [2, 5, 9] {
            verdicts.settle(&settled(segment, 0, "1")).expect("the disk works");
        }
        verdicts.forget(9).expect("they can be removed");
        assert_eq!((verdicts.of(2, 0), verdicts.of(5, 0), verdicts.of(9, 0)), (None, None, Some(true)));
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1);
    }

    #[test]
    fn the_last_decisions_are_there_after_a_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let id = |number: u8| (TraceId::from([number; 16]), number.is_multiple_of(3));
        let mut all = Vec::new();
        for round in 0..40_u8 {
            let (mut decisions, found) = Decisions::open(folder.path(), 10).expect("the disk works");
            assert!(all.ends_with(&found), "{round}: {found:?}");
            assert!(found.len() >= all.len().min(5) && found.len() <= 14, "{round}: {}", found.len());
            let new = [id(3 * round), id(3 * round + 1), id(3 * round + 2)];
            decisions.add(&new[..1]).expect("the disk works");
            decisions.add(&new[1..]).expect("the disk works");
            all.extend(new);
        }
    }
}
