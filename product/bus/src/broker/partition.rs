//! The log of one partition: batches in order of their offsets, oldest first.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{batch::Batch, error::ErrorCode, retention};

/// Producers whose sequence is remembered; each start of a relay is one more.
const PRODUCERS_MAX: usize = 64;
/// Groups whose offset is remembered; more is a client that invents names.
const READERS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Partition {
    batches: VecDeque<Batch>,
    bytes: usize,
    end: i64,
    /// Per idempotent producer: its epoch and the sequence it must send next.
    sequences: BTreeMap<i64, (i16, i32)>,
    /// Per group that committed here: the offset it will read next.
    read: BTreeMap<String, i64>,
}

impl Partition {
    /// Appends and returns the offset of the first record.
    pub(super) fn append(&mut self, mut batch: Batch) -> Result<i64, ErrorCode> {
        if batch.is_idempotent() {
            self.check_sequence(&batch)?;
        }
        let offset = self.end;
        batch.put_at(offset);
        self.end = batch.last_offset() + 1;
        self.bytes += batch.size();
        self.batches.push_back(batch);
        Ok(offset)
    }

    /// Kafka's rule: the next sequence is taken, an older one was taken before, a gap means something was lost.
    fn check_sequence(&mut self, batch: &Batch) -> Result<(), ErrorCode> {
        // Sequences begin again at zero after the largest.
        let after = batch.base_sequence.wrapping_add(batch.records) & i32::MAX;
        if let Some((epoch, next)) = self.sequences.get_mut(&batch.producer_id) {
            if batch.producer_epoch < *epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if batch.producer_epoch == *epoch {
                match batch.base_sequence.cmp(next) {
                    std::cmp::Ordering::Less => return Err(ErrorCode::DuplicateSequenceNumber),
                    std::cmp::Ordering::Greater => return Err(ErrorCode::OutOfOrderSequenceNumber),
                    std::cmp::Ordering::Equal => {
                        *next = after;
                        return Ok(());
                    }
                }
            }
        }
        if self.sequences.len() >= PRODUCERS_MAX {
            self.sequences.pop_first(); // ids grow: the oldest
        }
        self.sequences.insert(batch.producer_id, (batch.producer_epoch, after));
        Ok(())
    }

    /// Batches from the one that holds `offset` on, up to `bytes_max`, but `at_least_one` if it is wished. Before the start:
    /// from the start.
    pub(super) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> Vec<Bytes> {
        let first = self.batches.partition_point(|batch| batch.last_offset() < offset);
        let mut bytes = 0;
        let within = self.batches.range(first..).enumerate().take_while(|(number, batch)| {
            bytes += batch.size();
            bytes <= bytes_max || (at_least_one && *number == 0)
        });
        within.map(|(_, batch)| batch.bytes()).collect()
    }

    pub(super) fn start(&self) -> i64 {
        self.batches.front().map_or(self.end, |batch| batch.base_offset)
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// The offset of the first batch that is not older than `time_ms`, and its time.
    pub(super) fn offset_at(&self, time_ms: i64) -> Option<(i64, i64)> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp_ms >= time_ms)?;
        Some((batch.base_offset, batch.max_timestamp_ms))
    }

    /// A commit beyond the end was meant for an earlier life of this log.
    pub(super) fn commit(&mut self, group: &str, offset: i64) -> ErrorCode {
        if self.read.len() >= READERS_MAX && !self.read.contains_key(group) {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if offset <= self.end {
            self.read.insert(group.to_owned(), offset);
        }
        ErrorCode::None
    }

    pub(super) fn committed(&self, group: &str) -> Option<i64> {
        self.read.get(group).copied()
    }

    /// Forgets what retention allows; returns how many batches nobody had read yet.
    pub(super) fn trim(&mut self) -> usize {
        let read_by_all = self.read.values().min().copied().unwrap_or(0);
        let mut unread = 0;
        while let Some(oldest) = self.batches.front() {
            let is_read = oldest.last_offset() < read_by_all;
            if !retention::may_go(self.batches.len(), self.bytes, is_read) {
                break;
            }
            unread += usize::from(!is_read);
            self.pop();
        }
        unread
    }

    fn pop(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;

    use super::*;
    use crate::broker::batch::made::Made;

    fn batch(records: i32, value_bytes: usize) -> Batch {
        Made { records, value_bytes, ..Made::default() }.batch()
    }

    #[test]
    fn offsets_count_records_and_a_read_starts_inside_a_batch() {
        let mut partition = Partition::default();
        assert_eq!(partition.append(batch(3, 10)), Ok(0));
        assert_eq!(partition.append(batch(2, 10)), Ok(3));
        assert_eq!((partition.start(), partition.end()), (0, 5));
        let bases = |offset| {
            let batches = partition.read(offset, 1, true);
            batches.into_iter().map(|mut batch| batch.get_i64()).collect::<Vec<_>>()
        };
        assert_eq!((bases(2), bases(3), bases(5)), (vec![0], vec![3], vec![]));
        let counts = [(0, true), (0, false), (1_000, false)];
        let counts = counts.map(|(bytes_max, at_least_one)| partition.read(0, bytes_max, at_least_one).len());
        assert_eq!(counts, [1, 0, 2]);
    }

    #[test]
    fn a_time_is_found_in_the_first_batch_that_is_not_older() {
        let mut partition = Partition::default();
        for max_timestamp_ms in [10, 30, 20] {
            let made = Made { records: 2, max_timestamp_ms, ..Made::default() };
            partition.append(made.batch()).expect("nothing to object to");
        }
        let found = [0, 10, 11, 30, 31].map(|time_ms| partition.offset_at(time_ms));
        assert_eq!(found, [Some((0, 10)), Some((0, 10)), Some((2, 30)), Some((2, 30)), None]);
    }

    #[test]
    fn a_repeated_sequence_is_a_duplicate_and_a_gap_an_error() {
        let mut partition = Partition::default();
        let from = |sequence| Made { producer_id: 7, base_sequence: sequence, ..Made::default() }.batch();
        assert_eq!(partition.append(from(0)), Ok(0));
        assert_eq!(partition.append(from(1)), Ok(1));
        assert_eq!(partition.append(from(1)), Err(ErrorCode::DuplicateSequenceNumber));
        assert_eq!(partition.append(from(3)), Err(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn sequences_begin_again_after_the_largest() {
        let mut partition = Partition::default();
        let from = |sequence| Made { records: 2, producer_id: 7, base_sequence: sequence, ..Made::default() }.batch();
        assert_eq!(partition.append(from(i32::MAX)), Ok(0));
        assert_eq!(partition.append(from(1)), Ok(2));
    }

    #[test]
    fn what_every_group_has_read_goes_and_the_newest_stay() {
        let mut partition = Partition::default();
        for _ in 0..retention::KEPT_BATCHES + 10 {
            partition.append(batch(1, 1)).expect("nothing to object to");
        }
        assert_eq!((partition.trim(), partition.start()), (0, 0), "nobody has read");
        partition.commit("fast", partition.end());
        partition.commit("slow", 4);
        assert_eq!((partition.trim(), partition.start()), (0, 4), "the slower one decides");
        partition.commit("slow", partition.end());
        assert_eq!((partition.trim(), partition.batches()), (0, retention::KEPT_BATCHES));
    }

    #[test]
    fn a_full_partition_forgets_what_is_unread() {
        let mut partition = Partition::default();
        partition.append(batch(1, retention::BYTES_MAX)).expect("nothing to object to");
        partition.append(batch(1, 1)).expect("nothing to object to");
        assert_eq!((partition.trim(), partition.start(), partition.end()), (1, 1, 2));
    }
}
