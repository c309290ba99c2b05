//! Which traces a Parquet file holds: what a search for a trace asks before it opens the file.
//!
//! It lies inside the file, after the last row group, where no reader of Parquet looks, and the manifest says where. So it is
//! made, replaced, moved and deleted with its rows, and a crash has nothing to leave half done.
//!
//! ```text
//! directory: the first entry of each page, CRC32C of these
//! page:      up to 1023 entries, ascending, CRC32C of these
//! ```
//! Numbers are 4 bytes, little-endian. An entry is the CRC32C of a trace id, each once: 4 bytes a trace. Of two million traces
//! in a file, a search for another one finds an entry like its own once in two thousand times, and then the file is opened in
//! vain. A search reads the directory and a page, 12 kB at most.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use arrow::array::{AsArray, RecordBatch};
use serde::{Deserialize, Serialize};

const ENTRY_BYTES: usize = 4;
/// With its checksum a page is 4 kB, which a disk reads as quickly as less.
const PAGE_ENTRIES: usize = 1023;

pub(crate) const COLUMN: &str = "trace_id";

/// Where the index lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceIndex {
    pub(crate) offset: u64,
    /// Entries in it.
    pub(crate) traces: u32,
}

impl TraceIndex {
    /// Whether the file may hold a row of one of these traces. An error says nothing about them: look in the file.
    pub(crate) fn holds_any(&self, file: &File, ids: &[[u8; 16]]) -> io::Result<bool> {
        let pages = (self.traces as usize).div_ceil(PAGE_ENTRIES);
        let firsts = read(file, self.offset, pages)?;
        for id in ids {
            let wanted = entry(id);
            // The last page that does not start beyond it.
            let Some(page) = firsts.partition_point(|first| *first <= wanted).checked_sub(1) else { continue };
            let entries = PAGE_ENTRIES.min(self.traces as usize - page * PAGE_ENTRIES);
            if read(file, self.offset + page_offset(pages, page), entries)?.binary_search(&wanted).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The traces of a file being written. At most two million rows go into one, so this is at most 8 MB.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Of finished groups, each once a group.
    entries: Vec<u32>,
    /// Of the group being written, one a row.
    group: Vec<u32>,
}

impl Traces {
    /// Rows of a table with trace ids; any number of its columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        let ids = rows.column_by_name(COLUMN).and_then(|column| column.as_fixed_size_binary_opt());
        self.group.extend(ids.into_iter().flatten().flatten().map(entry));
    }

    pub(crate) fn end_group(&mut self) {
        self.group.sort_unstable();
        self.group.dedup();
        self.entries.append(&mut self.group);
    }

    /// The index as bytes, and how many traces are in it.
    pub(crate) fn encode(mut self) -> (Vec<u8>, u32) {
        self.end_group();
        self.entries.sort_unstable();
        self.entries.dedup();
        let pages = self.entries.chunks(PAGE_ENTRIES);
        let firsts: Vec<u32> = pages.clone().map(|page| page[0]).collect();
        let mut bytes = Vec::with_capacity((self.entries.len() + 2 * firsts.len() + 1) * ENTRY_BYTES);
        write(&firsts, &mut bytes);
        pages.for_each(|page| write(page, &mut bytes));
        (bytes, self.entries.len() as u32)
    }
}

fn entry(id: impl AsRef<[u8]>) -> u32 {
    crc32c::crc32c(id.as_ref())
}

/// From the start of an index of so many pages.
fn page_offset(pages: usize, page: usize) -> u64 {
    ((pages + 1 + page * (PAGE_ENTRIES + 1)) * ENTRY_BYTES) as u64
}

fn write(entries: &[u32], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
    out.extend(crc32c::crc32c(&out[start..]).to_le_bytes());
}

/// Entries and the checksum after them.
fn read(file: &File, offset: u64, entries: usize) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; (entries + 1) * ENTRY_BYTES];
    file.read_exact_at(&mut bytes, offset)?;
    let (content, _) = bytes.split_at(entries * ENTRY_BYTES);
    let checksum = crc32c::crc32c(content);
    let mut numbers: Vec<u32> =
        bytes.as_chunks().0.iter().map(|number: &[u8; ENTRY_BYTES]| u32::from_le_bytes(*number)).collect();
    match numbers.pop() == Some(checksum) {
        true => Ok(numbers),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a trace index is wrong")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn id(number: u64) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    /// An index over these traces behind bytes of something else, and the file it is in.
    fn index(numbers: impl Iterator<Item = u64>) -> (TraceIndex, File) {
        let traces = Traces { group: numbers.map(|number| entry(id(number))).collect(), ..Traces::default() };
        let (bytes, traces) = traces.encode();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"rows").unwrap();
        file.write_all(&bytes).unwrap();
        (TraceIndex { offset: 4, traces }, file)
    }

    #[test]
    fn what_is_in_it_is_found_and_hardly_anything_else() {
        for count in [0, 1, PAGE_ENTRIES as u64, PAGE_ENTRIES as u64 + 1, 5000] {
            let (index, file) = index((0..count).chain(0..count));
            assert_eq!(u64::from(index.traces), count);
            assert!((0..count).all(|number| index.holds_any(&file, &[id(number)]).unwrap()), "{count}");
            let vain = (count..count + 10_000).filter(|number| index.holds_any(&file, &[id(*number)]).unwrap()).count();
            assert!(vain <= 2, "{vain} of 10,000");
            let (absent, present) = (id(count + 1), id(count / 2));
            assert_eq!(index.holds_any(&file, &[absent, present]).unwrap(), count > 0);
            assert!(!index.holds_any(&file, &[]).unwrap());
        }
    }

    #[test]
    fn damage_is_said_wherever_it_is_looked_at() {
        let (index, file) = index(0..3000);
        let length = file.metadata().unwrap().len();
        for at in (index.offset..length).step_by(97) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            let failed = (0..3000).map(|number| index.holds_any(&file, &[id(number)])).filter(Result::is_err).count();
            assert!(failed > 0, "a flipped bit at {at} of {length}");
            file.write_all_at(&byte, at).unwrap();
        }
        file.set_len(length - 1).unwrap();
        assert!((0..3000).any(|number| index.holds_any(&file, &[id(number)]).is_err()));
    }
}
