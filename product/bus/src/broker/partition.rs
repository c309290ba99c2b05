//! The log of one partition: batches in order of their offsets, oldest first.

use std::collections::{BTreeMap, VecDeque};

use tansu_sans_io::{ErrorCode, record::deflated::Batch};

use super::retention;

/// Producers whose sequence is remembered; each start of a relay is one more.
const PRODUCERS_MAX: usize = 64;

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
        batch.base_offset = self.end;
        self.end += i64::from(batch.last_offset_delta) + 1;
        self.bytes += size(&batch);
        let base = batch.base_offset;
        self.batches.push_back(batch);
        Ok(base)
    }

    /// Kafka's rule: the next sequence is taken, an older one was taken before, a gap means something was lost.
    fn check_sequence(&mut self, batch: &Batch) -> Result<(), ErrorCode> {
        let records = batch.last_offset_delta + 1;
        if let Some((epoch, next)) = self.sequences.get_mut(&batch.producer_id) {
            if batch.producer_epoch < *epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if batch.producer_epoch == *epoch {
                match batch.base_sequence.cmp(next) {
                    std::cmp::Ordering::Less => return Err(ErrorCode::DuplicateSequenceNumber),
                    std::cmp::Ordering::Greater => return Err(ErrorCode::OutOfOrderSequenceNumber),
                    std::cmp::Ordering::Equal => {
                        *next += records;
                        return Ok(());
                    }
                }
            }
        }
        if self.sequences.len() >= PRODUCERS_MAX {
            self.sequences.pop_first(); // ids grow: the oldest
        }
        self.sequences.insert(batch.producer_id, (batch.producer_epoch, batch.base_sequence + records));
        Ok(())
    }

    /// Batches from the one that holds `offset` on, at least one, then up to `bytes_max`. Before the start: from the start.
    pub(super) fn read(&self, offset: i64, bytes_max: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| last_offset(batch) < offset);
        let mut bytes = 0;
        self.batches
            .range(first..)
            .take_while(|batch| {
                let more = bytes == 0 || bytes + size(batch) <= bytes_max;
                bytes += size(batch);
                more
            })
            .cloned()
            .collect()
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

    /// The first offset whose batch is not older than `time_ms`.
    pub(super) fn offset_at(&self, time_ms: i64) -> Option<i64> {
        self.batches.iter().find(|batch| batch.max_timestamp >= time_ms).map(|batch| batch.base_offset)
    }

    pub(super) fn committed(&mut self, group: &str, offset: i64) {
        // A commit beyond the end was meant for an earlier life of this log.
        if offset <= self.end {
            self.read.insert(group.to_owned(), offset);
        }
    }

    /// Deletes what lies before `offset`.
    pub(super) fn delete_before(&mut self, offset: i64) {
        while self.batches.front().is_some_and(|batch| last_offset(batch) < offset) {
            self.pop();
        }
    }

    /// Forgets what retention allows; returns how many batches nobody had read yet.
    pub(super) fn trim(&mut self) -> usize {
        let read_by_all = self.read.values().min().copied().unwrap_or(0);
        let mut unread = 0;
        while let Some(oldest) = self.batches.front() {
            let is_read = last_offset(oldest) < read_by_all;
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
            self.bytes -= size(&batch);
        }
    }
}

fn last_offset(batch: &Batch) -> i64 {
    batch.base_offset + i64::from(batch.last_offset_delta)
}

fn size(batch: &Batch) -> usize {
    size_of::<Batch>() + batch.record_data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: i32, bytes: usize) -> Batch {
        Batch {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: records as u32,
            record_data: vec![0; bytes].into(),
        }
    }

    #[test]
    fn offsets_count_records_and_a_read_starts_inside_a_batch() {
        let mut partition = Partition::default();
        assert_eq!(partition.append(batch(3, 10)), Ok(0));
        assert_eq!(partition.append(batch(2, 10)), Ok(3));
        assert_eq!((partition.start(), partition.end()), (0, 5));
        let bases = |offset| partition.read(offset, 1).iter().map(|batch| batch.base_offset).collect::<Vec<_>>();
        assert_eq!((bases(2), bases(3), bases(5)), (vec![0], vec![3], vec![]));
    }

    #[test]
    fn a_repeated_sequence_is_a_duplicate_and_a_gap_an_error() {
        let mut partition = Partition::default();
        let from = |sequence| Batch { producer_id: 7, producer_epoch: 0, base_sequence: sequence, ..batch(1, 1) };
        assert_eq!(partition.append(from(0)), Ok(0));
        assert_eq!(partition.append(from(1)), Ok(1));
        assert_eq!(partition.append(from(1)), Err(ErrorCode::DuplicateSequenceNumber));
        assert_eq!(partition.append(from(3)), Err(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn what_every_group_has_read_goes_and_the_newest_stay() {
        let mut partition = Partition::default();
        for _ in 0..retention::KEPT_BATCHES + 10 {
            partition.append(batch(1, 1)).expect("nothing to object to");
        }
        assert_eq!((partition.trim(), partition.start()), (0, 0), "nobody has read");
        partition.committed("fast", partition.end());
        partition.committed("slow", 4);
        assert_eq!((partition.trim(), partition.start()), (0, 4), "the slower one decides");
        partition.committed("slow", partition.end());
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
