//! A sink's place in the log: it reads rows in the order they became durable, a range at a time, and each range until it says
//! that it has it. Nothing of it holds up the writer; what it costs is disk, see `holding`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use model::{Batch, Signal, Table};
use serde::Serialize;
use tokio::sync::watch;

use crate::bookmark::{Bookmark, Mark, Pending};
use crate::frame::{Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::holding;
use crate::payload::Decoded;
use crate::shared::{Shared, Synced};
use crate::trail::{Stretch, trail};
use crate::writer::blocking;
use crate::{StoreError, layout, lock};

/// Looks at the log again when a segment was deleted while it was about to be read: each time another one is the oldest.
const ATTEMPTS_MAX: usize = 5;
/// While rows gather, how many times within the wait it is seen whether they are enough.
const LOOKS_A_WAIT: u32 = 10;

/// The place of one sink in the log of one signal. See [`Writer::cursor`](crate::Writer::cursor).
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    bookmark: Arc<Bookmark>,
    synced: watch::Receiver<Synced>,
}

/// How much a sink takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Wait for this many rows, but no longer than `wait_max` from the first on.
    pub rows_min: u64,
    pub wait_max: Duration,
    /// Stop at the first frame that reaches either; a frame is one group commit and never divided.
    pub rows_max: u64,
    pub bytes_max: u64,
}

/// Rows of a range of the log. The same range comes again, whole and in the same order, until [`Cursor::taken`]; also after a
/// crash, and whatever the portion is then.
#[derive(Clone, Debug)]
pub struct Handover {
    pub signal: Signal,
    /// One a table, none of them empty.
    pub batches: Vec<Batch>,
    pub rows: u64,
    /// Names the range: no other range of any store has this name.
    pub name: String,
    /// When the range was handed out first, milliseconds since the epoch: the same each time.
    pub since_ms: u64,
    segment: u64,
    to: u64,
    /// Nothing else was in the log when it was read.
    whole: bool,
}

/// How far a sink is behind.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Lag {
    pub sink: String,
    pub signal: &'static str,
    /// Durable and not taken; bytes as in the log, or as in Parquet for who copies that.
    pub rows: u64,
    pub bytes: u64,
    /// How long the oldest of these rows waits, milliseconds. May be too much by the time that a segment is filled.
    pub age_ms: u64,
    /// Rows that left the disk before the sink took them, ever.
    pub lost_rows: u64,
}

impl Cursor {
    pub(crate) fn open(shared: Arc<Shared>, sink: &str, signal: Signal) -> Result<Cursor, StoreError> {
        let bookmark = Arc::new(Bookmark::open(&shared, sink, signal)?);
        lock(&shared.bookmarks).push(Arc::clone(&bookmark));
        holding::recount(&shared);
        let synced = shared.synced(signal).subscribe();
        Ok(Cursor { shared, bookmark, synced })
    }

    /// The next range, when there is one. Dropping the future loses nothing.
    pub async fn next(&mut self, portion: &Portion) -> Result<Handover, StoreError> {
        loop {
            self.synced.borrow_and_update();
            if self.bookmark.mark().pending.is_none() {
                self.gather(portion).await;
            }
            let (shared, bookmark, portion) = (Arc::clone(&self.shared), Arc::clone(&self.bookmark), *portion);
            if let Some(handover) = blocking(move || read(&shared, &bookmark, &portion)).await? {
                return Ok(handover);
            }
            self.bookmark.level();
            // The sender is in what we share.
            let _ = self.synced.changed().await;
            self.bookmark.behind();
        }
    }

    /// The sink has the range for good. After an error it has to be said again.
    pub async fn taken(&mut self, handover: &Handover) -> Result<(), StoreError> {
        let Handover { segment, to, rows, since_ms, whole, .. } = *handover;
        let (shared, bookmark) = (Arc::clone(&self.shared), Arc::clone(&self.bookmark));
        blocking(move || {
            bookmark.change(&shared, |mark| take(mark, segment, to, rows))?;
            if whole {
                bookmark.behind_since(since_ms);
            }
            Ok(())
        })
        .await
    }

    /// Waits while there is something, but less than is worth a call.
    async fn gather(&self, portion: &Portion) {
        let until = Instant::now() + portion.wait_max;
        loop {
            let lag = self.bookmark.lag(&self.shared);
            let left = until.saturating_duration_since(Instant::now());
            if lag.bytes == 0 || lag.rows >= portion.rows_min || lag.bytes >= portion.bytes_max || left.is_zero() {
                return;
            }
            let look = (portion.wait_max / LOOKS_A_WAIT).max(Duration::from_millis(1));
            tokio::time::sleep(left.min(look)).await;
        }
    }
}

fn take(mark: &mut Mark, segment: u64, to: u64, rows: u64) {
    if mark.segment > segment {
        // It was given up while the sink was at it.
        mark.lost_rows = mark.lost_rows.saturating_sub(rows);
    } else {
        (mark.segment, mark.offset, mark.pending) = (segment, to, None);
        mark.rows += rows;
    }
}

/// Chooses the next range, writes down that it is handed out, and reads it.
fn read(shared: &Shared, bookmark: &Bookmark, portion: &Portion) -> Result<Option<Handover>, StoreError> {
    let mut vanished = 0;
    loop {
        let mark = bookmark.mark();
        let trail = trail(shared, bookmark.signal);
        let Some((stretch, from)) = next_stretch(&trail, &mark) else { return Ok(None) };
        let last = trail.iter().rfind(|stretch| stretch.end > SEGMENT_HEADER_BYTES as u64);
        let pending = mark.pending.filter(|_| stretch.number == mark.segment);
        let range = match Range::read(shared, stretch, from, pending, portion) {
            Ok(range) => range,
            Err(error) if error.kind() == io::ErrorKind::NotFound && vanished < ATTEMPTS_MAX => {
                vanished += 1;
                continue;
            }
            Err(error) => return Err(StoreError::read(format!("read {}", stretch.path), error)),
        };
        // Not when it was given up meanwhile: the mark is beyond it then, and stays there.
        let here = |mark: &mut Mark| {
            if mark.segment < stretch.number {
                (mark.segment, mark.offset, mark.rows) = (stretch.number, SEGMENT_HEADER_BYTES as u64, 0);
            }
            mark.segment == stretch.number
        };
        if range.rows == 0 {
            if range.to == from {
                return Ok(None);
            }
            // All of it is damaged, which compaction reports.
            bookmark.change(shared, |mark| {
                if here(mark) {
                    (mark.offset, mark.pending) = (range.to, None);
                }
            })?;
            continue;
        }
        let handed_out = pending.unwrap_or(Pending { end: range.to, since_ms: layout::now_ms() });
        if pending.is_none() {
            bookmark.change(shared, |mark| {
                if here(mark) {
                    mark.pending = Some(handed_out);
                }
            })?;
        }
        let (signal, segment, since_ms) = (bookmark.signal, stretch.number, handed_out.since_ms);
        let Range { salt, tables, rows, to } = range;
        let name = format!("{}-{segment}-{salt}-{from}-{to}", signal.name());
        let whole = last.is_some_and(|last| last.number == segment && last.end == to);
        let batches = batches(tables).map_err(|error| StoreError::read(format!("read {}", stretch.path), error))?;
        return Ok(Some(Handover { signal, batches, rows, name, since_ms, segment, to, whole }));
    }
}

/// Where the next unread byte is. An unsealed segment is the last that can be read: what follows it is later.
fn next_stretch<'a>(trail: &'a [Stretch], mark: &Mark) -> Option<(&'a Stretch, u64)> {
    for stretch in trail.iter().filter(|stretch| stretch.number >= mark.segment) {
        let offset = if stretch.number == mark.segment { mark.offset } else { 0 };
        let from = offset.max(SEGMENT_HEADER_BYTES as u64);
        if from < stretch.end {
            return Some((stretch, from));
        }
        if !stretch.sealed {
            return None;
        }
    }
    None
}

/// Frames of one segment, decoded.
struct Range {
    salt: String,
    tables: BTreeMap<Table, Vec<RecordBatch>>,
    rows: u64,
    to: u64,
}

impl Range {
    fn read(
        shared: &Shared,
        stretch: &Stretch,
        from: u64,
        pending: Option<Pending>,
        portion: &Portion,
    ) -> io::Result<Range> {
        let file = File::open(shared.layout.path(&stretch.path))?;
        let Some(salt) = Salt::read(&file)? else {
            let to = if stretch.sealed { stretch.end } else { from };
            return Ok(Range { salt: String::new(), tables: BTreeMap::new(), rows: 0, to });
        };
        let mode = if stretch.sealed { Mode::Sealed } else { Mode::Growing };
        let end = pending.map_or(stretch.end, |pending| pending.end.min(stretch.end));
        let mut range = Range { salt: salt.digits(), tables: BTreeMap::new(), rows: 0, to: from };
        let mut frames = Frames { file: &file, salt, mode, offset: from, end };
        let mut decoded = Decoded::new(&mut frames);
        while let Some(tables) = decoded.next()? {
            range.to = decoded.offset();
            for (table, packed, _) in tables {
                let rows = packed.unpack().map_err(io::Error::other)?.into_rows();
                range.rows += rows.num_rows() as u64;
                range.tables.entry(table).or_default().push(rows);
            }
            let enough = range.rows >= portion.rows_max || range.to - from >= portion.bytes_max;
            if enough && pending.is_none() {
                return Ok(range);
            }
        }
        // Damage at the end is passed as well.
        range.to = decoded.offset();
        Ok(range)
    }
}

/// What frames have of a table, as one batch.
fn batches(tables: BTreeMap<Table, Vec<RecordBatch>>) -> io::Result<Vec<Batch>> {
    let batches = tables.into_iter().map(|(table, parts)| {
        let rows = match <[RecordBatch; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => model::concat(table, &parts).map_err(io::Error::other)?,
        };
        Batch::new(table, rows).map_err(io::Error::other)
    });
    batches.collect()
}
