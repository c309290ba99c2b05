//! The Parquet files of a signal, for who keeps a copy of them elsewhere: which file is due to be copied, and which copy is due to
//! be deleted. What is not copied stays on the disk, see `retention`; nothing else waits for it.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::Signal;

use crate::elsewhere::Copy;
use crate::layout;
use crate::manifest::{Manifest, Parquet};
use crate::reader::ColdFile;
use crate::retention;
use crate::shared::Shared;
use crate::writer::blocking;
use crate::{Lag, StoreError, lock};

/// How often it is seen whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files of one shipment: they are named together, so more would be named later.
const PIECES_MAX: usize = 16;
/// Copies deleted at once.
const DELETIONS_MAX: usize = 100;

/// See [`Writer::shelf`](crate::Writer::shelf).
#[derive(Debug)]
pub struct Shelf {
    shared: Arc<Shared>,
    signal: Signal,
}

/// When something is due.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Copy a file when it is this old, or when it would otherwise leave the disk.
    pub age_min: Duration,
    /// Delete a copy when it was replaced this long ago.
    pub replaced_age_min: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    Copy(Shipment),
    /// These names, or none of them when they are gone already.
    Delete(Vec<String>),
}

/// Files of one table and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// Name of the object that lists the current files of that table and day.
    pub listing: String,
    /// Oldest first, at least one.
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of the copy: the path of the file below the folder of telemetry.
    pub name: String,
    pub file: ColdFile,
    /// Names of copies whose rows are in this file: they are listed no longer once this one is.
    pub replaces: Vec<String>,
}

impl Shelf {
    pub(crate) fn open(shared: Arc<Shared>, sink: &str, signal: Signal) -> Shelf {
        lock(&shared.shelves).push((sink.to_owned(), signal));
        Shelf { shared, signal }
    }

    /// Waits until something is due. It is due until it is said to be done: the same shipment comes again, or one with the files
    /// that its files became. Dropping the future loses nothing.
    pub async fn next(&self, terms: &Terms) -> Result<Errand, StoreError> {
        loop {
            match self.look(terms).await? {
                Some(errand) => return Ok(errand),
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    pub(crate) async fn look(&self, terms: &Terms) -> Result<Option<Errand>, StoreError> {
        let (shared, signal, terms) = (Arc::clone(&self.shared), self.signal, *terms);
        blocking(move || choose(&shared, signal, &terms)).await
    }

    /// These copies are whole, their listing names them, and nothing that they replace.
    pub async fn copied(&self, pieces: Vec<Piece>) -> Result<(), StoreError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let now_ms = layout::now_ms();
            shared.catalog.change(|manifest| pieces.iter().for_each(|piece| done(manifest, piece, now_ms)))
        })
        .await
    }

    /// The file cannot be read. It is left alone until a restart, so that it does not hold up the others; one that was merged into
    /// another meanwhile is missed by nobody.
    pub fn unreadable(&self, piece: &Piece, error: &io::Error) {
        if self.shared.catalog.current().files.iter().any(|file| file.path == piece.name) {
            self.shared.set_aside(piece.name.clone(), error);
        }
    }

    /// These copies are gone.
    pub async fn deleted(&self, names: Vec<String>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            shared.catalog.change(|manifest| manifest.copies.replaced.retain(|copy| !names.contains(&copy.path)))
        })
        .await
    }
}

fn choose(shared: &Shared, signal: Signal, terms: &Terms) -> Result<Option<Errand>, StoreError> {
    let now_ms = layout::now_ms();
    let unreadable = lock(&shared.unreadable).clone();
    let pick = |manifest: &Manifest| {
        let mut files: Vec<&Parquet> =
            uncopied(manifest, signal).filter(|file| !unreadable.contains(&file.path)).collect();
        let old = |file: &Parquet| u128::from(now_ms.saturating_sub(file.created_ms)) >= terms.age_min.as_millis();
        if files.iter().any(|file| !old(file)) {
            let leaving = retention::due(manifest, &shared.args, now_ms);
            let leaving: HashSet<&str> = leaving.into_iter().map(|file| file.path.as_str()).collect();
            files.retain(|file| old(file) || leaving.contains(file.path.as_str()));
        }
        together(files)
    };
    let manifest = shared.catalog.current();
    if pick(&manifest).is_some() {
        // Once more, on what is the case when it is written down: a merge may have been quicker.
        let mut pieces = Vec::new();
        shared.catalog.change(|manifest| {
            pieces = pick(manifest).unwrap_or_default();
            begin(manifest, &pieces);
        })?;
        let piece = |file: Parquet| Piece {
            file: ColdFile::of(&shared.layout, &file),
            name: file.path,
            replaces: file.elsewhere.replaces,
        };
        let listing = pieces.first().map(|file| layout::listing(&file.path));
        return Ok(
            listing.map(|listing| Errand::Copy(Shipment { listing, pieces: pieces.into_iter().map(piece).collect() }))
        );
    }
    let names = deletions(&manifest, signal, terms, now_ms);
    Ok((!names.is_empty()).then_some(Errand::Delete(names)))
}

/// The oldest, and others of its table and day.
fn together(mut files: Vec<&Parquet>) -> Option<Vec<Parquet>> {
    files.sort_by_key(|file| file.created_ms);
    let listing = layout::listing(&files.first()?.path);
    let together = files.into_iter().filter(|file| layout::listing(&file.path) == listing);
    Some(together.take(PIECES_MAX).cloned().collect())
}

fn begin(manifest: &mut Manifest, pieces: &[Parquet]) {
    for file in &mut manifest.files {
        if pieces.iter().any(|piece| piece.path == file.path) {
            file.elsewhere.copy = Copy::Begun;
        }
    }
}

/// The file may be merged into another by now, which then replaces this copy.
fn done(manifest: &mut Manifest, piece: &Piece, now_ms: u64) {
    if let Some(file) = manifest.files.iter_mut().find(|file| file.path == piece.name) {
        file.elsewhere.copy = Copy::Done;
        file.elsewhere.replaces.clear();
    }
    manifest.copies.replace(&piece.replaces, now_ms);
}

fn deletions(manifest: &Manifest, signal: Signal, terms: &Terms, now_ms: u64) -> Vec<String> {
    let ours = |path: &str| signal.tables().iter().any(|table| path.starts_with(&format!("{}/", table.name())));
    let due = manifest.copies.replaced.iter().filter(|copy| {
        u128::from(now_ms.saturating_sub(copy.since_ms)) >= terms.replaced_age_min.as_millis() && ours(&copy.path)
    });
    due.take(DELETIONS_MAX).map(|copy| copy.path.clone()).collect()
}

fn uncopied(manifest: &Manifest, signal: Signal) -> impl Iterator<Item = &Parquet> {
    let files = manifest.files.iter().filter(move |file| file.table.signal() == signal);
    files.filter(|file| file.elsewhere.copy != Copy::Done)
}

/// Whether somebody still has to copy this file.
pub(crate) fn needs(shared: &Shared, file: &Parquet) -> bool {
    let shelved = |(_, signal): &(String, Signal)| *signal == file.table.signal();
    file.elsewhere.copy != Copy::Done && lock(&shared.shelves).iter().any(shelved)
}

/// How far the copies of each signal are behind the files.
pub(crate) fn lags(shared: &Shared, manifest: &Manifest) -> Vec<Lag> {
    let shelves = lock(&shared.shelves).clone();
    let lag = |(sink, signal): (String, Signal)| {
        let mut lag = Lag { sink, signal: signal.name(), ..Lag::default() };
        let mut oldest_ms = u64::MAX;
        for file in uncopied(manifest, signal) {
            lag.rows += file.rows;
            lag.bytes += file.bytes;
            oldest_ms = oldest_ms.min(file.created_ms);
        }
        lag.age_ms = layout::now_ms().saturating_sub(oldest_ms);
        lag.lost_rows = manifest.copies.lost_rows[signal as usize];
        lag
    };
    shelves.into_iter().map(lag).collect()
}
