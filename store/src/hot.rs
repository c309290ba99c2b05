//! The rows of one segment in memory, read up to where it is good and continued from there the next time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use model::{Batch, Table};

use crate::frame::{Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::payload::Decoded;

/// Small frames are joined up to this many rows and bytes: a query pays for each batch, not only for each row.
const CHUNK_ROWS_MAX: usize = 8192;
const CHUNK_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct SegmentRows {
    file: File,
    /// `None`: the header is damaged, so nothing can be read.
    salt: Option<Salt>,
    /// Read up to here.
    offset: u64,
    tables: BTreeMap<Table, Vec<Chunk>>,
}

#[derive(Debug)]
struct Chunk {
    rows: RecordBatch,
    bytes: usize,
}

impl SegmentRows {
    pub(crate) fn open(path: &Path) -> io::Result<SegmentRows> {
        let file = File::open(path)?;
        let salt = Salt::read(&file)?;
        let offset = SEGMENT_HEADER_BYTES as u64;
        Ok(SegmentRows { file, salt, offset, tables: BTreeMap::new() })
    }

    /// Reads what is new; damage is left out, and reported by compaction. `sealed_bytes` is the manifest's: how much of a finished segment counts.
    pub(crate) fn advance(&mut self, sealed_bytes: Option<u64>) -> io::Result<()> {
        let (mode, end) = match sealed_bytes {
            Some(bytes) => (Mode::Sealed, bytes),
            None => (Mode::Growing, self.file.metadata()?.len()),
        };
        let Some(salt) = self.salt else {
            return Ok(());
        };
        if mode == Mode::Sealed && end < self.offset {
            // Its last write failed: what we saw of it was never promised.
            self.offset = SEGMENT_HEADER_BYTES as u64;
            self.tables.clear();
        }
        let mut frames = Frames { file: &self.file, salt, mode, offset: self.offset, end };
        let mut decoded = Decoded::new(&mut frames);
        let mut rows = Vec::new();
        while let Some(tables) = decoded.next()? {
            for (_, packed, bytes) in tables {
                rows.push((packed.unpack().map_err(io::Error::other)?, bytes));
            }
        }
        // Not before all of it was read: after an error the next call finds the same frames again.
        self.offset = frames.offset;
        for (batch, bytes) in rows {
            self.push(batch, bytes);
        }
        Ok(())
    }

    pub(crate) fn rows(&self, table: Table) -> impl Iterator<Item = &RecordBatch> {
        self.tables.get(&table).into_iter().flatten().map(|chunk| &chunk.rows)
    }

    /// Joins neighbours of similar size, so that each row is copied a few times at most however small the frames are.
    fn push(&mut self, batch: Batch, bytes: usize) {
        let table = batch.table();
        let chunks = self.tables.entry(table).or_default();
        chunks.push(Chunk { rows: batch.into_rows(), bytes });
        while let [.., older, newer] = chunks.as_slice() {
            let (rows, bytes) = (older.rows.num_rows() + newer.rows.num_rows(), older.bytes + newer.bytes);
            let similar = older.rows.num_rows() <= 2 * newer.rows.num_rows();
            if !similar || rows > CHUNK_ROWS_MAX || bytes > CHUNK_BYTES_MAX {
                return;
            }
            let Ok(rows) = model::concat(table, &[older.rows.clone(), newer.rows.clone()]) else { return };
            chunks.truncate(chunks.len() - 2);
            chunks.push(Chunk { rows, bytes });
        }
    }
}
