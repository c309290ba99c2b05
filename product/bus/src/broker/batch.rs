//! A batch of records as a producer sent it. Only its head is read: what it holds, and how that is compressed, is between
//! producers and consumers.

use bytes::{Buf as _, Bytes, BytesMut};

use super::error::ErrorCode;

const HEAD_BYTES: usize = 61;
/// Where things are in the head.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CHECKSUM: usize = 17;
const ATTRIBUTES: usize = 21;
/// What the length does not count: the offset and itself.
const BEFORE_LENGTH: usize = 12;

/// The format since Kafka 0.11.
const MAGIC_2: u8 = 2;
/// Bits of the attributes.
const OF_TRANSACTION: i16 = 0x10;
const FOR_BROKERS: i16 = 0x20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) base_offset: i64,
    pub(super) records: i32,
    pub(super) max_timestamp_ms: i64,
    /// -1: not idempotent.
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    /// The whole, its offset included.
    bytes: Bytes,
}

impl Batch {
    /// One batch, whole and as its checksum says. Producers send one a partition.
    pub(super) fn parse(sent: &[u8]) -> Result<Self, ErrorCode> {
        if sent.len() > MAGIC && sent[MAGIC] != MAGIC_2 {
            return Err(ErrorCode::UnsupportedForMessageFormat);
        }
        if sent.len() < HEAD_BYTES {
            return Err(ErrorCode::CorruptMessage);
        }
        let length = (&sent[LENGTH..]).get_i32();
        let checksum = (&sent[CHECKSUM..]).get_u32();
        if usize::try_from(length) != Ok(sent.len() - BEFORE_LENGTH) || crc32c::crc32c(&sent[ATTRIBUTES..]) != checksum
        {
            return Err(ErrorCode::CorruptMessage);
        }
        let mut head = &sent[ATTRIBUTES..];
        let attributes = head.get_i16();
        let last_offset_delta = head.get_i32();
        let _base_timestamp_ms = head.get_i64();
        let batch = Self {
            base_offset: 0,
            max_timestamp_ms: head.get_i64(),
            producer_id: head.get_i64(),
            producer_epoch: head.get_i16(),
            base_sequence: head.get_i32(),
            records: head.get_i32(),
            bytes: Bytes::copy_from_slice(sent),
        };
        if attributes & (OF_TRANSACTION | FOR_BROKERS) != 0 {
            return Err(ErrorCode::InvalidTxnState);
        }
        let makes_sense = batch.records > 0 && last_offset_delta == batch.records - 1;
        if makes_sense && (!batch.is_idempotent() || batch.base_sequence >= 0) {
            Ok(batch)
        } else {
            Err(ErrorCode::InvalidRecord)
        }
    }

    /// Its place in the log. The checksum does not cover it.
    pub(super) fn put_at(&mut self, offset: i64) {
        self.base_offset = offset;
        let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
        bytes[..LENGTH].copy_from_slice(&offset.to_be_bytes());
        self.bytes = bytes.freeze();
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.records) - 1
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// In memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// Batches as producers make them.
#[cfg(test)]
pub(super) mod made {
    use super::*;

    #[derive(Clone, Copy)]
    pub(in crate::broker) struct Made {
        pub(in crate::broker) records: i32,
        pub(in crate::broker) value_bytes: usize,
        pub(in crate::broker) producer_id: i64,
        pub(in crate::broker) base_sequence: i32,
        pub(in crate::broker) attributes: i16,
        pub(in crate::broker) max_timestamp_ms: i64,
    }

    impl Default for Made {
        fn default() -> Self {
            Self { records: 1, value_bytes: 1, producer_id: -1, base_sequence: -1, attributes: 0, max_timestamp_ms: 0 }
        }
    }

    impl Made {
        pub(in crate::broker) fn bytes(&self) -> Vec<u8> {
            let mut covered = self.attributes.to_be_bytes().to_vec();
            covered.extend((self.records - 1).to_be_bytes());
            covered.extend(0_i64.to_be_bytes());
            covered.extend(self.max_timestamp_ms.to_be_bytes());
            covered.extend(self.producer_id.to_be_bytes());
            covered.extend(0_i16.to_be_bytes());
            covered.extend(self.base_sequence.to_be_bytes());
            covered.extend(self.records.to_be_bytes());
            covered.resize(covered.len() + self.value_bytes, b'x');
            let mut bytes = vec![0; LENGTH];
            bytes.extend((covered.len() as i32 + 9).to_be_bytes());
            bytes.extend([0, 0, 0, 0, MAGIC_2]);
            bytes.extend(crc32c::crc32c(&covered).to_be_bytes());
            bytes.extend(covered);
            bytes
        }

        pub(in crate::broker) fn batch(&self) -> Batch {
            Batch::parse(&self.bytes()).expect("a batch")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{made::Made, *};

    #[test]
    fn a_place_in_the_log_leaves_the_rest_as_it_was() {
        let sent = Made { records: 3, value_bytes: 10, ..Made::default() }.bytes();
        let mut batch = Batch::parse(&sent).expect("a batch");
        batch.put_at(40);
        assert_eq!((batch.base_offset, batch.last_offset()), (40, 42));
        assert_eq!((&batch.bytes()[..8], &batch.bytes()[8..]), (&40_i64.to_be_bytes()[..], &sent[8..]));
    }

    #[test]
    fn what_is_not_one_whole_batch_is_refused_in_kafkas_words() {
        let good = Made::default().bytes();
        let changed = |place: usize| {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            bytes
        };
        let made = |made: Made| made.bytes();
        for (sent, expected) in [
            (good[..good.len() - 1].to_vec(), ErrorCode::CorruptMessage),
            (good[..30].to_vec(), ErrorCode::CorruptMessage),
            (vec![], ErrorCode::CorruptMessage),
            ([good.clone(), good.clone()].concat(), ErrorCode::CorruptMessage),
            (changed(good.len() - 1), ErrorCode::CorruptMessage),
            (changed(LENGTH), ErrorCode::CorruptMessage),
            (changed(MAGIC), ErrorCode::UnsupportedForMessageFormat),
            (made(Made { records: 0, ..Made::default() }), ErrorCode::InvalidRecord),
            (made(Made { records: i32::MIN + 1, ..Made::default() }), ErrorCode::InvalidRecord),
            (made(Made { producer_id: 1, ..Made::default() }), ErrorCode::InvalidRecord),
            (made(Made { attributes: OF_TRANSACTION, ..Made::default() }), ErrorCode::InvalidTxnState),
        ] {
            assert_eq!(Batch::parse(&sent), Err(expected), "{sent:?}");
        }
    }
}
