//! What is in a frame: rows of up to four tables, each as an Arrow IPC stream of packed rows with its own dictionaries.
//!
//! ```text
//! number of tables (u8), then for each: tag (u8), length (u32, little-endian), Arrow IPC stream;
//! where requests say what they are: 128 (u8), length (u32), then for each: when (u64), digest (16 bytes)
//! ```
//! Whoever reads rows stops after the tables, and so did versions that knew nothing else.

use std::io;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use model::Table;

use crate::frame::{FRAME_HEADER_BYTES, Found, Frames};
use crate::packed::{Packed, Rows, pack};
use crate::repeats::{SEEN_BYTES, Seen};

/// Never change a number: it is on disks.
const TAGS: [(u8, Table); 6] = [
    (1, Table::Spans),
    (2, Table::Logs),
    (3, Table::Metrics),
    (4, Table::MetricHistograms),
    (5, Table::MetricExponentialHistograms),
    (6, Table::MetricSummaries),
];

/// The same holds for this one: it stands before the digests.
const DIGESTS: u8 = 128;

/// Of buffers in a stream: what our widest type needs. The usual 64 would be most of a frame of few rows.
const ALIGNMENT: usize = 8;

/// Appends `requests` to `out`; rows of one table become one batch. `seen` are those of them that say what they are.
pub(crate) fn encode<'a>(
    requests: impl Iterator<Item = &'a Rows> + Clone,
    seen: &[Seen],
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let count = out.len();
    out.push(0);
    for (tag, table) in TAGS {
        let rows: Vec<&Rows> = requests.clone().filter(|rows| rows.table == table).collect();
        if !rows.is_empty() {
            stream(tag, &pack(table, &rows)?, out)?;
            out[count] += 1;
        }
    }
    if !seen.is_empty() {
        out.push(DIGESTS);
        // A group has thousands of requests at most.
        out.extend(((seen.len() * SEEN_BYTES) as u32).to_le_bytes());
        seen.iter().for_each(|seen| seen.write(out));
    }
    Ok(())
}

fn stream(tag: u8, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.push(tag);
    let length = out.len();
    out.extend([0; 4]);
    let start = out.len();
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(&mut *out, rows.schema_ref(), options)?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    let bytes = u32::try_from(out.len() - start)
        .map_err(|_| ArrowError::InvalidArgumentError("4 GiB of rows in one request".into()))?;
    out[length..start].copy_from_slice(&bytes.to_le_bytes());
    Ok(())
}

/// The rows of a frame whose checksum was right, each table with its size as encoded. An error means that another version
/// wrote it.
fn decode(payload: &[u8]) -> Result<Vec<(Table, Packed, usize)>, ArrowError> {
    let short = || ArrowError::IpcError("the frame ends early".into());
    let (count, mut rest) = payload.split_first().ok_or_else(short)?;
    let mut batches = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        let ([tag, a, b, c, d], after) = rest.split_first_chunk().ok_or_else(short)?;
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let (bytes, after) = after.split_at_checked(length).ok_or_else(short)?;
        rest = after;
        let Some((_, table)) = TAGS.into_iter().find(|(known, _)| known == tag) else {
            return Err(ArrowError::IpcError(format!("no table has the tag {tag}")));
        };
        batches.push((table, Packed::new(table, &decode_stream(bytes)?)?, length));
    }
    Ok(batches)
}

/// How many rows are in a frame; none when it cannot be decoded, which whoever reads it will say.
pub(crate) fn count_rows(payload: &[u8]) -> u64 {
    decode(payload).map_or(0, |tables| tables.iter().map(|(_, rows, _)| rows.num_rows() as u64).sum())
}

/// The requests of a frame that say what they are.
pub(crate) fn seen(payload: &[u8]) -> Vec<Seen> {
    let part = |bytes: &[u8]| -> Option<(u8, usize)> {
        let [tag, a, b, c, d] = bytes.first_chunk()?;
        Some((*tag, 5 + u32::from_le_bytes([*a, *b, *c, *d]) as usize))
    };
    let Some((count, mut rest)) = payload.split_first() else { return Vec::new() };
    for _ in 0..*count {
        let after = part(rest).and_then(|(_, length)| rest.get(length..));
        let Some(after) = after else { return Vec::new() };
        rest = after;
    }
    match part(rest) {
        Some((DIGESTS, length)) => Seen::read_all(rest.get(5..length).unwrap_or_default()).collect(),
        _ => Vec::new(),
    }
}

/// What the frames of a segment hold, and where they do not.
pub(crate) struct Decoded<'a, 'f> {
    frames: &'a mut Frames<'f>,
    pub(crate) damage: Vec<Range<u64>>,
}

impl<'a, 'f> Decoded<'a, 'f> {
    pub(crate) fn new(frames: &'a mut Frames<'f>) -> Decoded<'a, 'f> {
        Decoded { frames, damage: Vec::new() }
    }

    /// The end of what was read.
    pub(crate) fn offset(&self) -> u64 {
        self.frames.offset
    }

    /// The rows of the next frame that has some.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<(Table, Packed, usize)>>> {
        while let Some(found) = self.frames.next()? {
            match found {
                Found::Damage(range) => self.damage.push(range),
                Found::Payload(payload) => match decode(&payload) {
                    Ok(rows) => return Ok(Some(rows)),
                    Err(error) => {
                        tracing::warn!("a frame in the log cannot be decoded: {error}");
                        let end = self.frames.offset;
                        self.damage.push(end - (payload.len() + FRAME_HEADER_BYTES) as u64..end);
                    }
                },
            }
        }
        Ok(None)
    }
}

fn decode_stream(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    // One copy into memory of the allocator's alignment; the arrays then point into it.
    let mut buffer = Buffer::from(bytes);
    let mut decoder = StreamDecoder::new();
    decoder.decode(&mut buffer)?.ok_or_else(|| ArrowError::IpcError("a stream without rows".into()))
}
