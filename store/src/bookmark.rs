//! How far a sink has read the log of a signal: one small file, replaced as a whole.
//!
//! It is written before a range is handed out and after it was taken. So a range that was handed out and not taken is known by
//! its end, and is handed out again as it was: a sink that names its work by the range can tell that it did it before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::faults::Step;
use crate::frame::SEGMENT_HEADER_BYTES;
use crate::manifest::{Tally, sync_folder};
use crate::shared::Shared;
use crate::trail::{Left, Place, left, trail};
use crate::{Lag, StoreError, layout, lock};

/// Another number: written by a version this one does not understand.
const FORMAT: u32 = 1;

#[derive(Debug)]
pub(crate) struct Bookmark {
    pub(crate) sink: String,
    pub(crate) signal: Signal,
    mark: Mutex<Mark>,
    /// Wall clock; 0 while the sink has everything.
    behind_since_ms: AtomicU64,
    /// For those who follow.
    moved: watch::Sender<()>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    format: u32,
    /// What lies before this place is taken.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Rows of the segment before `offset`.
    pub(crate) rows: u64,
    /// From the place on, handed out and not yet taken.
    pub(crate) pending: Option<Pending>,
    /// Rows that had to leave the disk before they were taken.
    pub(crate) lost_rows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Where the range ends in the segment.
    pub(crate) end: u64,
    /// When it was handed out first, wall clock.
    pub(crate) since_ms: u64,
}

impl Mark {
    pub(crate) fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset, rows: self.rows }
    }
}

impl Bookmark {
    /// The place the file tells, or the start of the log when there is none.
    pub(crate) fn open(shared: &Shared, sink: &str, signal: Signal) -> Result<Bookmark, StoreError> {
        let path = shared.layout.path(&layout::cursor(sink, signal));
        let mark = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Mark { format: FORMAT, segment: 0, offset: 0, rows: 0, pending: None, lost_rows: 0 }
            }
            Err(error) => return Err(StoreError::read(format!("read {}", path.display()), error)),
            Ok(bytes) => {
                let damaged = |detail: String| StoreError::Damaged { path: path.clone(), detail };
                let mark: Mark = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                if mark.format != FORMAT {
                    return Err(damaged(format!("its format is {}, this version reads {FORMAT}", mark.format)));
                }
                let next_segment = shared.catalog.current().next_segment;
                if mark.segment >= next_segment {
                    return Err(damaged(format!(
                        "it stands in segment {} and the log has none from {next_segment} on: it is of another log; remove it",
                        mark.segment,
                    )));
                }
                mark
            }
        };
        // Since whenever: the age of the first row it lacks decides.
        let behind_since_ms = AtomicU64::new(1);
        Ok(Bookmark {
            sink: sink.to_owned(),
            signal,
            mark: Mutex::new(mark),
            behind_since_ms,
            moved: watch::Sender::new(()),
        })
    }

    pub(crate) fn mark(&self) -> Mark {
        lock(&self.mark).clone()
    }

    /// Changes when the mark does.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Returns when the change is durable; after an error nothing has changed. Blocks on the disk.
    pub(crate) fn change(&self, shared: &Shared, change: impl FnOnce(&mut Mark)) -> Result<(), StoreError> {
        let mut mark = lock(&self.mark);
        let mut next = mark.clone();
        change(&mut next);
        self.save(shared, &next)?;
        *mark = next;
        self.moved.send_replace(());
        Ok(())
    }

    /// Whether the sink still has to read something of a segment that ends at `end`.
    pub(crate) fn needs(&self, number: u64, end: u64) -> bool {
        let mark = lock(&self.mark);
        end > SEGMENT_HEADER_BYTES as u64 && (mark.segment < number || mark.segment == number && mark.offset < end)
    }

    /// The segment leaves the disk: its rows that are not taken are lost to the sink. Returns how many.
    pub(crate) fn give_up(&self, shared: &Shared, number: u64, tally: Tally) -> u64 {
        let mut mark = lock(&self.mark);
        let taken = if mark.segment == number { mark.rows } else { 0 };
        let lost = tally.rows.saturating_sub(taken);
        mark.lost_rows += lost;
        (mark.segment, mark.offset, mark.rows, mark.pending) = (number + 1, 0, 0, None);
        if let Err(error) = self.save(shared, &mark) {
            // The segment goes all the same. After a restart the sink finds it gone.
            shared.note_error(&error);
        }
        self.moved.send_replace(());
        lost
    }

    fn save(&self, shared: &Shared, mark: &Mark) -> Result<(), StoreError> {
        let path = shared.layout.path(&layout::cursor(&self.sink, self.signal));
        let temporary = layout::temporary(&path);
        let write = || -> io::Result<()> {
            let bytes = serde_json::to_vec(mark)?;
            shared.faults.at(Step::SaveCursor)?;
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_folder(&shared.layout.path(layout::CURSORS))
        };
        write().map_err(|error| StoreError::write(format!("replace {}", path.display()), error))
    }

    /// The sink had everything a moment ago.
    pub(crate) fn level(&self) {
        self.behind_since_ms.store(0, Relaxed);
    }

    /// There is something to read again.
    pub(crate) fn behind(&self) {
        let _ = self.behind_since_ms.compare_exchange(0, layout::now_ms(), Relaxed, Relaxed);
    }

    /// Everything that was in the log at that time is taken.
    pub(crate) fn behind_since(&self, since_ms: u64) {
        self.behind_since_ms.store(since_ms.max(1), Relaxed);
    }

    pub(crate) fn lag(&self, shared: &Shared) -> Lag {
        let mark = self.mark();
        let Left { rows, bytes, first_ms } = left(&trail(shared, self.signal), mark.place());
        let age_ms = match (first_ms, self.behind_since_ms.load(Relaxed)) {
            (None, _) | (_, 0) => 0,
            // Whatever was written before the sink last had everything, it has.
            (Some(first_ms), since_ms) => layout::now_ms().saturating_sub(first_ms.max(since_ms)),
        };
        let (sink, signal) = (self.sink.clone(), self.signal.name());
        Lag { sink, signal, rows, bytes, age_ms, lost_rows: mark.lost_rows }
    }
}
