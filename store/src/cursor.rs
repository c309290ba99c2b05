//! A sink's place in the log: it reads rows in the order they became durable, a range at a time, and each range until it says
//! that it has it. Nothing of it holds up the writer; what it costs is disk, see `holding`.
//!
//! Two more ways to read: [`Ahead`] goes on without taking, for who decides about rows later than it reads them, and a cursor
//! may [`follow`](Cursor::follow) another, behind what that has taken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use model::{Batch, Signal, Table};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::bookmark::{Bookmark, Mark, Pending};
use crate::frame::{Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::holding;
use crate::manifest::sync_folder;
use crate::payload::Decoded;
use crate::shared::{Shared, Synced};
use crate::trail::{Place, Stretch, before, left, trail};
use crate::unpacked::Batches;
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
    leader: Option<Leader>,
}

/// Reads on from a cursor's place, whatever of it is taken. Nothing is written down: after a start it begins at the place again,
/// and the ranges may be others. They are taken in the order they came.
#[derive(Debug)]
pub struct Ahead {
    shared: Arc<Shared>,
    bookmark: Arc<Bookmark>,
    synced: watch::Receiver<Synced>,
    place: Place,
}

/// Whose place is the end of what may be read.
#[derive(Debug)]
struct Leader {
    bookmark: Arc<Bookmark>,
    moved: watch::Receiver<()>,
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
    pub batches: Batches,
    pub rows: u64,
    /// Names the range: no other range of any store has this name.
    pub name: String,
    /// When the range was handed out first, milliseconds since the epoch: the same each time.
    pub since_ms: u64,
    /// The segment it is of, and how many rows that has before it: both say which row of the log a row is.
    pub segment: u64,
    pub first_row: u64,
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

impl Handover {
    fn holding(mut self, place: Option<OwnedSemaphorePermit>) -> Handover {
        self.batches.hold(place);
        self
    }
}

impl Cursor {
    pub(crate) fn open(shared: Arc<Shared>, sink: &str, signal: Signal) -> Result<Cursor, StoreError> {
        let bookmark = Arc::new(Bookmark::open(&shared, sink, signal)?);
        lock(&shared.bookmarks).push(Arc::clone(&bookmark));
        holding::recount(&shared);
        let synced = shared.synced(signal).subscribe();
        Ok(Cursor { shared, bookmark, synced, leader: None })
    }

    /// Reads no further than `leader` has taken. A range that was handed out before comes again when it lies behind that.
    pub fn follow(&mut self, leader: &Cursor) {
        let bookmark = Arc::clone(&leader.bookmark);
        let moved = bookmark.moved();
        self.leader = Some(Leader { bookmark, moved });
    }

    /// One that reads on from here.
    pub fn ahead(&self) -> Ahead {
        let (shared, bookmark) = (Arc::clone(&self.shared), Arc::clone(&self.bookmark));
        let synced = shared.synced(bookmark.signal).subscribe();
        let place = bookmark.mark().place();
        Ahead { shared, bookmark, synced, place }
    }

    /// A folder for what the reader has to remember beside its place, made when it is not there.
    pub async fn folder(&self) -> Result<PathBuf, StoreError> {
        let (shared, bookmark) = (Arc::clone(&self.shared), Arc::clone(&self.bookmark));
        blocking(move || {
            let path = shared.layout.path(&layout::cursor_folder(&bookmark.sink, bookmark.signal));
            fs::create_dir_all(&path)
                .and_then(|()| sync_folder(&shared.layout.path(layout::CURSORS)))
                .map_err(|error| StoreError::write(format!("make {}", path.display()), error))?;
            Ok(path)
        })
        .await
    }

    /// The oldest segment on the disk, when there is one: nobody reads one before it any more.
    pub fn oldest_segment(&self) -> Option<u64> {
        trail(&self.shared, self.bookmark.signal).first().map(|stretch| stretch.number)
    }

    /// The next range, when there is one, and when there is room for its rows: who holds those of two ranges waits for ever.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self, portion: &Portion) -> Result<Handover, StoreError> {
        loop {
            self.see();
            let mark = self.bookmark.mark();
            if mark.pending.is_none() {
                gather(&self.shared, self.bookmark.signal, mark.place(), portion).await;
            }
            let place = self.shared.room.place().await;
            let (shared, bookmark, portion) = (Arc::clone(&self.shared), Arc::clone(&self.bookmark), *portion);
            let leader = self.leader.as_ref().map(|leader| Arc::clone(&leader.bookmark));
            let read = move || read(&shared, &bookmark, leader.as_deref(), &portion);
            // The place goes along: who stops waiting does not end the reading.
            if let Some(handover) = blocking(move || Ok(read()?.map(|handover| handover.holding(place)))).await? {
                return Ok(handover);
            }
            if self.leader.is_none() {
                self.bookmark.level();
            }
            self.wait().await;
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

    /// What changes from now on ends a wait.
    fn see(&mut self) {
        self.synced.borrow_and_update();
        if let Some(leader) = &mut self.leader {
            leader.moved.borrow_and_update();
        }
    }

    /// Until there may be more to read. The senders are in what we share.
    async fn wait(&mut self) {
        let _ = match &mut self.leader {
            Some(leader) => leader.moved.changed().await,
            None => self.synced.changed().await,
        };
    }
}

impl Ahead {
    /// The range after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self, portion: &Portion) -> Result<Handover, StoreError> {
        loop {
            self.synced.borrow_and_update();
            // Further than that when segments were given up.
            let from = self.place.max(self.bookmark.mark().place());
            let signal = self.bookmark.signal;
            gather(&self.shared, signal, from, portion).await;
            let place = self.shared.room.place().await;
            let (shared, portion) = (Arc::clone(&self.shared), *portion);
            let read = move || read_ahead(&shared, signal, from, &portion);
            let read = move || Ok(read()?.map(|(handover, next)| (handover.holding(place), next)));
            if let Some((handover, next)) = blocking(read).await? {
                self.place = next;
                return Ok(handover);
            }
            // The sender is in what we share.
            let _ = self.synced.changed().await;
        }
    }
}

/// Waits while there is something, but less than is worth a call.
async fn gather(shared: &Shared, signal: Signal, from: Place, portion: &Portion) {
    let until = Instant::now() + portion.wait_max;
    loop {
        let more = left(&trail(shared, signal), from);
        let wait = until.saturating_duration_since(Instant::now());
        if more.bytes == 0 || more.rows >= portion.rows_min || more.bytes >= portion.bytes_max || wait.is_zero() {
            return;
        }
        let look = (portion.wait_max / LOOKS_A_WAIT).max(Duration::from_millis(1));
        tokio::time::sleep(wait.min(look)).await;
    }
}

fn take(mark: &mut Mark, segment: u64, to: u64, rows: u64) {
    if mark.segment > segment {
        // It was given up while the sink was at it.
        mark.lost_rows = mark.lost_rows.saturating_sub(rows);
    } else {
        if mark.segment < segment {
            mark.rows = 0;
        }
        (mark.segment, mark.offset, mark.pending) = (segment, to, None);
        mark.rows += rows;
    }
}

/// Chooses the next range, writes down that it is handed out, and reads it.
fn read(
    shared: &Shared,
    bookmark: &Bookmark,
    leader: Option<&Bookmark>,
    portion: &Portion,
) -> Result<Option<Handover>, StoreError> {
    loop {
        let mark = bookmark.mark();
        let fence = leader.map(|leader| leader.mark().place());
        let Some(found) = find(shared, bookmark.signal, mark.place(), mark.pending, fence, portion)? else {
            return Ok(None);
        };
        let number = found.stretch.number;
        // Not when it was given up meanwhile: the mark is beyond it then, and stays there.
        let here = |mark: &mut Mark| {
            if mark.segment < number {
                (mark.segment, mark.offset, mark.rows) = (number, SEGMENT_HEADER_BYTES as u64, 0);
            }
            mark.segment == number
        };
        if found.range.rows == 0 {
            if found.range.to == found.from {
                return Ok(None);
            }
            // All of it is damaged, which compaction reports.
            bookmark.change(shared, |mark| {
                if here(mark) {
                    (mark.offset, mark.pending) = (found.range.to, None);
                }
            })?;
            continue;
        }
        let pending = mark.pending.filter(|_| number == mark.segment);
        let handed_out = pending.unwrap_or(Pending { end: found.range.to, since_ms: layout::now_ms() });
        if pending.is_none() {
            bookmark.change(shared, |mark| {
                if here(mark) {
                    mark.pending = Some(handed_out);
                }
            })?;
        }
        return found.handover(bookmark.signal, mark.place(), handed_out.since_ms).map(Some);
    }
}

/// The next range from a place on, and the place after it.
fn read_ahead(
    shared: &Shared,
    signal: Signal,
    mut from: Place,
    portion: &Portion,
) -> Result<Option<(Handover, Place)>, StoreError> {
    loop {
        let Some(found) = find(shared, signal, from, None, None, portion)? else { return Ok(None) };
        let (segment, offset) = (found.stretch.number, found.range.to);
        let rows = if segment == from.segment { from.rows } else { 0 };
        let next = Place { segment, offset, rows: rows + found.range.rows };
        if found.range.rows > 0 {
            return Ok(Some((found.handover(signal, from, layout::now_ms())?, next)));
        }
        if offset == found.from {
            return Ok(None);
        }
        from = next;
    }
}

/// A range, and where it was.
struct Found {
    stretch: Stretch,
    from: u64,
    range: Range,
    whole: bool,
}

impl Found {
    fn handover(self, signal: Signal, start: Place, since_ms: u64) -> Result<Handover, StoreError> {
        let Found { stretch, from, range, whole } = self;
        let Range { salt, tables, rows, to } = range;
        let segment = stretch.number;
        let first_row = if segment == start.segment { start.rows } else { 0 };
        let name = format!("{}-{segment}-{salt}-{from}-{to}", signal.name());
        let batches = batches(tables).map_err(|error| StoreError::read(format!("read {}", stretch.path), error))?;
        let batches = Batches::from(batches);
        Ok(Handover { signal, batches, rows, name, since_ms, segment, first_row, to, whole })
    }
}

/// Reads from a place on, up to the fence.
fn find(
    shared: &Shared,
    signal: Signal,
    start: Place,
    pending: Option<Pending>,
    fence: Option<Place>,
    portion: &Portion,
) -> Result<Option<Found>, StoreError> {
    let mut vanished = 0;
    loop {
        let all = trail(shared, signal);
        let last = all.iter().rfind(|stretch| stretch.end > SEGMENT_HEADER_BYTES as u64);
        let last = last.map(|last| (last.number, last.end));
        let trail = match fence {
            Some(fence) => before(all, fence),
            None => all,
        };
        let Some((stretch, from)) = next_stretch(&trail, start) else { return Ok(None) };
        let pending = pending.filter(|_| stretch.number == start.segment);
        // Handed out when there was no fence: it has to come again as it was.
        let beyond = |fence: Place| fence.segment == stretch.number && fence.offset <= stretch.end;
        if pending.is_some_and(|pending| pending.end > stretch.end) && fence.is_some_and(beyond) {
            return Ok(None);
        }
        let range = match Range::read(shared, stretch, from, pending, portion) {
            Ok(range) => range,
            Err(error) if error.kind() == io::ErrorKind::NotFound && vanished < ATTEMPTS_MAX => {
                vanished += 1;
                continue;
            }
            Err(error) => return Err(StoreError::read(format!("read {}", stretch.path), error)),
        };
        let whole = last == Some((stretch.number, range.to));
        return Ok(Some(Found { stretch: stretch.clone(), from, range, whole }));
    }
}

/// Where the next unread byte is. An unsealed segment is the last that can be read: what follows it is later.
fn next_stretch(trail: &[Stretch], start: Place) -> Option<(&Stretch, u64)> {
    for stretch in trail.iter().filter(|stretch| stretch.number >= start.segment) {
        let offset = if stretch.number == start.segment { start.offset } else { 0 };
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
