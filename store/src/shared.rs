//! What the commit threads, compaction and the callers of one writer share.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use model::Signal;
use tokio::sync::{Notify, watch};

use crate::bookmark::Bookmark;
use crate::busy::Busy;
use crate::catalog::Catalog;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::layout::Layout;
use crate::manifest::Tally;
use crate::pace::Pace;
use crate::queue::Place;
use crate::segment::Active;
use crate::unpacked::Room;
use crate::{Args, Lag, SignalStatus, Status, StoreError, lock, shelf};

/// Damage remembered for the status; more is only logged.
const DAMAGED_MAX: usize = 100;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) args: Args,
    pub(crate) layout: Layout,
    pub(crate) catalog: Catalog,
    pub(crate) faults: Faults,
    pub(crate) counters: [Counters; 3],
    /// Memory of requests that are reserved or wait for their fsync.
    pub(crate) unwritten_bytes: AtomicUsize,
    /// Bytes of all segments on disk.
    pub(crate) log_bytes: AtomicU64,
    /// Bytes of those that are compacted and kept for cursors only.
    pub(crate) held_bytes: AtomicU64,
    /// How far the log of each signal is durable.
    synced: [watch::Sender<Synced>; 3],
    /// Who reads the log besides compaction: their segments stay.
    pub(crate) bookmarks: Mutex<Vec<Arc<Bookmark>>>,
    /// Who copies Parquet files: those that are not copied stay.
    pub(crate) shelves: Mutex<Vec<(String, Signal)>>,
    /// For rows that these read.
    pub(crate) room: Room,
    /// The next segment's number, ahead of the manifest by those being created.
    pub(crate) next_segment: AtomicU64,
    pub(crate) disk: Disk,
    pub(crate) closed: AtomicBool,
    /// A segment was sealed: there is something to compact.
    pub(crate) sealed: Notify,
    /// Held while compaction works, so that closing can wait for it.
    pub(crate) compacting: Arc<tokio::sync::Mutex<()>>,
    /// The round of compaction at work.
    pub(crate) round: Busy,
    pub(crate) compactions: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) expired_rows: AtomicU64,
    /// Files and segments that could not be read: they are left alone until a restart.
    pub(crate) unreadable: Mutex<HashSet<String>>,
    last_error: Mutex<String>,
    damaged: Mutex<Vec<String>>,
    /// Held open for as long as we are the writer.
    lock: Mutex<Option<File>>,
}

/// The segment being written, up to where it is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) tally: Tally,
}

impl Synced {
    pub(crate) fn of(active: &Active) -> Synced {
        Synced { number: active.number, bytes: active.bytes, tally: active.tally }
    }
}

/// Counts of one signal.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Reserved or waiting for their fsync.
    pub(crate) requests_unwritten: AtomicUsize,
    /// Reserved but not appended: being decoded.
    pub(crate) requests_decoding: AtomicUsize,
    pub(crate) refused: AtomicU64,
    /// Durable requests that are remembered.
    pub(crate) requests_known: AtomicUsize,
    pub(crate) commits: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// The group being committed, or the segment being sealed.
    pub(crate) committing: Busy,
    pub(crate) pace: Pace,
}

impl Shared {
    pub(crate) fn new(args: Args, layout: Layout, catalog: Catalog, faults: Faults, lock: File) -> Shared {
        let next_segment = AtomicU64::new(catalog.current().next_segment);
        let disk = Disk::new(layout.root());
        Shared {
            args,
            layout,
            catalog,
            faults,
            counters: Default::default(),
            unwritten_bytes: AtomicUsize::new(0),
            log_bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            synced: std::array::from_fn(|_| watch::Sender::new(Synced::default())),
            bookmarks: Mutex::default(),
            room: Room::default(),
            shelves: Mutex::default(),
            next_segment,
            disk,
            closed: AtomicBool::new(false),
            sealed: Notify::new(),
            compacting: Arc::default(),
            round: Busy::default(),
            compactions: AtomicU64::new(0),
            merges: AtomicU64::new(0),
            expired_rows: AtomicU64::new(0),
            unreadable: Mutex::default(),
            last_error: Mutex::default(),
            damaged: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn counters(&self, signal: Signal) -> &Counters {
        &self.counters[signal as usize]
    }

    pub(crate) fn synced(&self, signal: Signal) -> &watch::Sender<Synced> {
        &self.synced[signal as usize]
    }

    /// Lets another process write the folder.
    pub(crate) fn unlock(&self) {
        lock(&self.lock).take();
    }

    pub(crate) fn note_error(&self, error: &dyn std::error::Error) {
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            sentence = format!("{sentence}: {error}");
            cause = error.source();
        }
        tracing::error!(exception.message = %sentence, "the store could not do its work: {sentence}");
        *lock(&self.last_error) = sentence;
    }

    /// Tells the operator; says the same thing once.
    pub(crate) fn note_damage(&self, sentence: String) {
        let mut damaged = lock(&self.damaged);
        if damaged.len() < DAMAGED_MAX && !damaged.contains(&sentence) {
            tracing::error!("{sentence}");
            damaged.push(sentence);
        }
    }

    /// Of a part that could not write.
    pub(crate) fn note_failure(&self, error: &StoreError) {
        if error.is_disk_full() {
            self.disk.found_full();
        }
        self.note_error(error);
    }

    /// A file that cannot be read must not keep the others from being worked on.
    pub(crate) fn set_aside(&self, path: String, error: &std::io::Error) {
        self.note_damage(format!("{} cannot be read: {error}", self.layout.path(&path).display()));
        lock(&self.unreadable).insert(path);
    }

    pub(crate) fn status(&self) -> Status {
        let manifest = self.catalog.current();
        let signals = Signal::ALL.into_iter().map(|signal| {
            let counters = self.counters(signal);
            SignalStatus {
                signal: signal.name(),
                unwritten_requests: counters.requests_unwritten.load(Relaxed) as u64,
                unwritten_requests_max: self.args.unwritten_requests_max as u64,
                known_requests: counters.requests_known.load(Relaxed) as u64,
                known_requests_max: self.args.repeats.map_or(0, |repeats| repeats.requests_max as u64),
                refused: counters.refused.load(Relaxed),
                commits: counters.commits.load(Relaxed),
                requests: counters.requests.load(Relaxed),
                rows: counters.rows.load(Relaxed),
                bytes: counters.bytes.load(Relaxed),
                committing_ms: counters.committing.ms(),
                segments_sealed: manifest.segments(signal).filter(|segment| segment.sealed_bytes.is_some()).count()
                    as u64,
            }
        });
        let bookmarks = lock(&self.bookmarks).clone();
        let mut cursors: Vec<Lag> = bookmarks.iter().map(|bookmark| bookmark.lag(self)).collect();
        cursors.extend(shelf::lags(self, &manifest));
        Status {
            signals: signals.collect(),
            unwritten_bytes: self.unwritten_bytes.load(Relaxed) as u64,
            unwritten_bytes_max: self.args.unwritten_bytes_max as u64,
            log_bytes: self.log_bytes.load(Relaxed),
            log_bytes_max: self.args.log_bytes_max,
            held_bytes: self.held_bytes.load(Relaxed),
            held_bytes_max: self.args.log_held_bytes_max,
            cursors,
            disk_free_bytes: self.disk.free_bytes(),
            disk_free_bytes_min: self.args.disk_free_bytes_min,
            refusing: Place::check(self, 0).err().map_or_else(String::new, |full| full.reason.to_string()),
            files: manifest.files.len() as u64,
            file_rows: manifest.files.iter().map(|file| file.rows).sum(),
            file_bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            replaced: manifest.replaced.len() as u64,
            manifest_version: manifest.version,
            compactions: self.compactions.load(Relaxed),
            merges: self.merges.load(Relaxed),
            compacting_ms: self.round.ms(),
            expired_rows: self.expired_rows.load(Relaxed),
            last_error: lock(&self.last_error).clone(),
            damaged: lock(&self.damaged).clone(),
            failed: self.catalog.check().is_err(),
        }
    }
}
