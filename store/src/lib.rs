//! Where telemetry rests: a hot log per signal, Parquet behind it, and one manifest that names both.
//!
//! [`Writer`] is the one process that appends, seals, compacts and deletes; [`Reader`] is any process that looks. They share
//! nothing but files: the manifest says what exists, and a segment grows until a frame does not check.
//!
//! What an `Ok` of [`Filled::append`] means: the rows are on the disk and survive `kill -9` and power loss, and every
//! [`Reader::snapshot`] taken from then on has them exactly once, whatever compaction does meanwhile.
//!
//! The way of a row: `commit` writes it into a `segment` as part of a `frame`; `maintenance` turns sealed segments
//! into Parquet, merges small files and deletes what was replaced; each change of what exists is one replacement of the
//! `manifest`; `recovery` is how every start begins.
//!
//! A request that says what it is ([`Filled::once`]) is kept once: `repeats` remembers those that are durable.
//!
//! A sink reads the log through a [`Cursor`]: `trail` is what of the log is on the disk, `bookmark` how far the sink came, and
//! `holding` which segments stay for it after compaction. Whoever copies the Parquet files has a [`Shelf`] of them; `elsewhere` is
//! what the manifest remembers of the copies.

mod args;
mod bookmark;
mod busy;
mod catalog;
mod commit;
mod compaction;
mod cursor;
mod disk;
mod elsewhere;
mod error;
mod faults;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod holding;
mod hot;
mod layout;
mod maintenance;
mod manifest;
mod merge;
mod order;
mod pace;
mod packed;
mod parquet_file;
mod payload;
mod promotion;
mod queue;
mod reader;
mod recovery;
mod repeats;
mod retention;
mod segment;
mod shared;
mod shelf;
mod sorting;
mod status;
mod trace_index;
mod trail;
mod unpacked;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod cursor_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod repeats_tests;
#[cfg(test)]
#[path = "../tests/it/rows.rs"]
mod rows;
#[cfg(test)]
mod shelf_tests;

pub use args::Args;
pub use cursor::{Ahead, Cursor, Handover, Lag, Portion};
pub use error::{Full, FullReason, StoreError};
pub use promotion::PROMOTED_KEY;
pub use reader::{ColdFile, Reader, Snapshot};
pub use repeats::{Digest, Kept, Repeats};
pub use shelf::{Errand, Piece, Shelf, Shipment, Terms};
pub use status::{SignalStatus, Status};
pub use unpacked::Batches;
pub use writer::{Filled, Reservation, Writer};

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A thread that panicked while holding a lock has left nothing half done: what our locks guard is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic in `work` as an error. Safe to go on after, for the same reason as in [`lock`].
fn caught<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        io::Error::other(format!("a panic: {text}"))
    })
}
