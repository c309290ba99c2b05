//! What happens behind the log, one round at a time: compact, expire, merge, delete.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};

use model::Signal;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio_util::sync::CancellationToken;

use crate::compaction::compact;
use crate::faults::Step;
use crate::holding::hold;
use crate::layout;
use crate::manifest::{Parquet, Replaced};
use crate::merge::merge;
use crate::recovery::is_segment;
use crate::retention::expire;
use crate::shared::Shared;
use crate::{StoreError, caught};

/// A segment is needed by readers only until they have read it, and one that finds it gone looks at a newer manifest: this
/// spares them that. Longer would cost disk: full load writes 150 MB of log a second.
const SEGMENT_AGE_MIN_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worked {
    /// There may be more to do.
    Yes,
    No,
}

/// Asked between batches, so that a stop does not wait for a large merge. What is half done is thrown away.
pub(crate) struct Stop<'a> {
    shared: &'a Shared,
    token: &'a CancellationToken,
}

impl Stop<'_> {
    pub(crate) fn is_set(&self) -> bool {
        self.token.is_cancelled() || self.shared.closed.load(Relaxed)
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        match self.is_set() {
            true => Err(io::Error::new(io::ErrorKind::Interrupted, "stopped")),
            false => Ok(()),
        }
    }
}

/// A round somebody waits for.
pub(crate) struct Round {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    /// Held until the round is over.
    pub(crate) _working: OwnedMutexGuard<()>,
    pub(crate) answer: oneshot::Sender<Result<Worked, StoreError>>,
}

/// The thread of all rounds; it ends with the sender. One thread rather than any of a pool: the allocator keeps what a thread
/// has freed for that thread, and a compaction frees a hundred megabytes.
pub(crate) fn start() -> io::Result<SyncSender<Round>> {
    // One runs at a time, and each is waited for.
    let (rounds, inbox) = sync_channel::<Round>(1);
    let work = move || {
        for Round { shared, stop, _working, answer } in inbox {
            let worked = shared.round.during(|| round(&shared, &stop));
            let _ = answer.send(worked);
        }
    };
    std::thread::Builder::new().name("compact".to_owned()).spawn(work)?;
    Ok(rounds)
}

/// At most one compaction per signal, one merge and one deletion each: the log does not grow behind a long merge.
fn round(shared: &Shared, token: &CancellationToken) -> Result<Worked, StoreError> {
    let stop = Stop { shared, token };
    match work(shared, &stop) {
        // Giving up is what was asked for, and what is not done now is found at the next open.
        _ if stop.is_set() => Ok(Worked::No),
        result => result,
    }
}

/// A part that fails, by a panic too, does not keep the others from working; the first failure is returned.
fn work(shared: &Shared, stop: &Stop) -> Result<Worked, StoreError> {
    let compacted = Signal::ALL.into_iter().map(|signal| part("compact", || compact(shared, stop, signal)));
    let merged = std::iter::once_with(|| part("merge", || merge(shared, stop)));
    let deleted = std::iter::once_with(|| part("delete", || delete(shared)));
    let mut worked = Ok(Worked::No);
    let expired = std::iter::once_with(|| part("expire", || expire(shared)));
    for part in compacted.chain(expired).chain(merged).chain(deleted) {
        worked = match (worked, part) {
            (Err(first), _) | (Ok(_), Err(first)) => Err(first),
            (Ok(Worked::No), Ok(Worked::No)) => Ok(Worked::No),
            (Ok(_), Ok(_)) => Ok(Worked::Yes),
        };
        if stop.is_set() {
            break;
        }
    }
    worked
}

fn part(name: &str, work: impl FnOnce() -> Result<Worked, StoreError>) -> Result<Worked, StoreError> {
    caught(work).unwrap_or_else(|panic| Err(StoreError::write(name, panic)))
}

/// Deletes what left the manifest long enough ago and no cursor holds.
fn delete(shared: &Shared) -> Result<Worked, StoreError> {
    let manifest = shared.catalog.current();
    let (now_ms, file_age_min_ms) = (layout::now_ms(), shared.args.replaced_age_min_ms);
    let held = hold(shared, &manifest);
    let due = |gone: &&Replaced| {
        if held.contains(gone.path.as_str()) {
            return false;
        }
        let age_min_ms = if is_segment(gone) { file_age_min_ms.min(SEGMENT_AGE_MIN_MS) } else { file_age_min_ms };
        now_ms.saturating_sub(gone.since_ms) >= age_min_ms
    };
    let mut log_bytes = 0;
    let mut deleted = Vec::new();
    for gone in manifest.replaced.iter().filter(due) {
        let path = shared.layout.path(&gone.path);
        let removed = shared.faults.at(Step::DeleteFile).and_then(|()| fs::remove_file(&path));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::write(format!("delete {}", path.display()), error));
            }
            _ => {}
        }
        if is_segment(gone) {
            log_bytes += gone.bytes;
        }
        deleted.push(gone.path.as_str());
    }
    if deleted.is_empty() {
        return Ok(Worked::No);
    }
    shared.faults.at(Step::ForgetFiles).map_err(|error| StoreError::write("forget deleted files", error))?;
    shared.catalog.change(|manifest| manifest.replaced.retain(|gone| !deleted.contains(&gone.path.as_str())))?;
    shared.log_bytes.fetch_sub(log_bytes, Relaxed);
    // Nothing follows from a deletion.
    Ok(Worked::No)
}

/// Removes files that will not be named. Best effort: the next open removes the rest.
pub(crate) fn discard(shared: &Shared, files: &[Parquet]) {
    for file in files {
        let _ = fs::remove_file(shared.layout.path(&file.path));
    }
}
