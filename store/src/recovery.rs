//! Opening a folder for writing: lock it, cut torn tails, remove what a crash left behind. Every start takes this way; there
//! is no other kind of shutdown to trust.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use model::Signal;

use crate::catalog::Catalog;
use crate::faults::Faults;
use crate::frame::{Found, Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::layout::{self, Kind, Layout};
use crate::manifest::{Manifest, Replaced, Segment, Tally, sync_folder};
use crate::repeats::{Known, Seen};
use crate::shared::Shared;
use crate::{Args, StoreError, payload};

pub(crate) fn open(args: Args, faults: Faults) -> Result<Shared, StoreError> {
    let data_dir = args.data_dir.display().to_string();
    let layout = Layout::new(&args.data_dir)
        .and_then(|layout| make_folders(&layout).map(|()| layout))
        .map_err(|error| StoreError::write(format!("make the folders of {data_dir}"), error))?;
    let lock = take_lock(&layout)?;
    let manifest = Manifest::load(&layout)?;
    let found = list(&layout).map_err(|error| StoreError::read(format!("list {data_dir}"), error))?;
    if manifest.is_none() && found.iter().any(|path| is(path, Kind::Data)) {
        let detail = "it is missing, but there are data files; restore it, or move the folder away to start anew";
        return Err(StoreError::Damaged { path: layout.manifest(), detail: detail.to_owned() });
    }
    let catalog = Catalog::open(layout.clone(), faults.clone(), manifest)?;
    let shared = Shared::new(args, layout, catalog, faults, lock);
    for path in found.iter().filter(|path| is(path, Kind::Damaged)) {
        shared.note_damage(format!("{} is the copy of a damaged file", shared.layout.path(path).display()));
    }
    settle_segments(&shared)?;
    remove_orphans(&shared, &found);
    shared.log_bytes.store(log_bytes(&shared.catalog.current()), Relaxed);
    Ok(shared)
}

fn make_folders(layout: &Layout) -> io::Result<()> {
    // Folders that were there already may belong to somebody else, and their names are durable.
    let new: Vec<&Path> = layout.root().ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    for folder in layout.folders() {
        fs::create_dir_all(layout.path(&folder))?;
    }
    fs::create_dir_all(layout.path(layout::CURSORS))?;
    fs::create_dir_all(layout.path(layout::REPEATS))?;
    sync_folder(&layout.path("log"))?;
    sync_folder(layout.root())?;
    sync_folder(layout.data_dir())?;
    new.into_iter().filter_map(Path::parent).try_for_each(sync_folder)
}

fn take_lock(layout: &Layout) -> Result<File, StoreError> {
    let path = layout.lock();
    let attempt = || format!("lock {}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| StoreError::write(attempt(), error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(StoreError::Locked { path: layout.root().to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::write(attempt(), error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|error| StoreError::write(attempt(), error))?;
    Ok(file)
}

/// Every file below our folders, relative to the root.
fn list(layout: &Layout) -> io::Result<Vec<String>> {
    let mut folders = layout.folders();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(layout.path(&folder))? {
            let entry = entry?;
            // Our names are ASCII; another name is not ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{folder}/{name}");
            match entry.file_type()?.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    Ok(files)
}

fn is(path: &str, kind: Kind) -> bool {
    layout::kind(path) == kind
}

/// What a segment left by a crash turned out to be.
enum Settled {
    Rows { bytes: u64, tally: Tally },
    Empty,
    Missing,
}

/// Seals every segment that was being written: a new process writes new ones.
fn settle_segments(shared: &Shared) -> Result<(), StoreError> {
    let current = shared.catalog.current();
    let mut settled = Vec::new();
    let mut seen: [Vec<Seen>; Signal::ALL.len()] = Default::default();
    for segment in &current.segments {
        let path = shared.layout.path(&segment.path());
        let result = settle(shared, segment, &path, &mut seen[segment.signal as usize])
            .map_err(|error| StoreError::write(format!("recover {}", path.display()), error))?;
        settled.push((segment.signal, segment.number, result));
    }
    if settled.is_empty() {
        return Ok(());
    }
    // Before the segments are sealed, for a second crash would find them so, and not look into them.
    Signal::ALL.into_iter().zip(seen).try_for_each(|(signal, seen)| remember(shared, signal, seen))?;
    shared.catalog.change(|manifest| {
        for (signal, number, result) in &settled {
            apply(manifest, *signal, *number, result);
        }
    })
}

/// Adds the requests of segments that were being written to those that are known.
fn remember(shared: &Shared, signal: Signal, seen: Vec<Seen>) -> Result<(), StoreError> {
    let Some(repeats) = shared.args.repeats.filter(|_| !seen.is_empty()) else { return Ok(()) };
    let mut known = Known::open(shared, signal, repeats);
    known.extend(seen);
    known
        .save(&shared.layout, &shared.faults, signal)
        .map_err(|error| StoreError::write(format!("replace {}", layout::repeats(signal)), error))
}

fn apply(manifest: &mut Manifest, signal: Signal, number: u64, settled: &Settled) {
    match settled {
        Settled::Rows { bytes, tally } => {
            let segments = manifest.segments.iter_mut();
            for segment in segments.filter(|segment| (segment.signal, segment.number) == (signal, number)) {
                segment.sealed_bytes = Some(*bytes);
                segment.tally = *tally;
            }
        }
        Settled::Empty => {
            manifest.replace_segment(signal, number, SEGMENT_HEADER_BYTES as u64, layout::now_ms());
        }
        Settled::Missing => manifest.segments.retain(|segment| (segment.signal, segment.number) != (signal, number)),
    }
}

fn settle(shared: &Shared, segment: &Segment, path: &Path, seen: &mut Vec<Seen>) -> io::Result<Settled> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note_missing(shared, path);
            return Ok(Settled::Missing);
        }
        Err(error) => return Err(error),
    };
    if let Some(bytes) = segment.sealed_bytes {
        return Ok(Settled::Rows { bytes, tally: segment.tally });
    }
    let metadata = file.metadata()?;
    let length = metadata.len();
    let Some(salt) = Salt::read(&file)? else {
        keep_copy(shared, path, std::slice::from_ref(&(0..length)))?;
        return Ok(Settled::Empty);
    };
    let offset = SEGMENT_HEADER_BYTES as u64;
    let mut frames = Frames { file: &file, salt, mode: Mode::Abandoned, offset, end: length };
    let mut damage = Vec::new();
    let mut rows = 0;
    while let Some(found) = frames.next()? {
        match found {
            Found::Damage(range) => damage.push(range),
            Found::Payload(payload) => {
                rows += payload::count_rows(&payload);
                seen.extend(payload::seen(&payload));
            }
        }
    }
    let bytes = frames.offset;
    if !damage.is_empty() {
        keep_copy(shared, path, &damage)?;
    }
    if bytes < length {
        let torn = length - bytes;
        tracing::warn!(file.path = %path.display(), "cut {torn} bytes of an unfinished write off {}", path.display());
        file.set_len(bytes)?;
    }
    // A reader may have seen the last frames although nobody waited for their fsync: now they stay.
    file.sync_all()?;
    // Nobody wrote down when it began; the last write is the best we have.
    let written = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let tally = Tally { rows, first_ms: u64::try_from(written.as_millis()).unwrap_or(0) };
    Ok(if bytes > offset { Settled::Rows { bytes, tally } } else { Settled::Empty })
}

/// The manifest names it, so somebody else deleted it.
pub(crate) fn note_missing(shared: &Shared, path: &Path) {
    shared.note_damage(format!("{} is missing: its rows are lost", path.display()));
}

/// Leaves a copy of a damaged file for a person and says what is wrong with it.
pub(crate) fn keep_copy(shared: &Shared, path: &Path, damage: &[Range<u64>]) -> io::Result<()> {
    let copy = layout::damaged(path);
    if !copy.exists() {
        fs::copy(path, &copy)?;
        File::open(&copy)?.sync_all()?;
    }
    let bytes: u64 = damage.iter().map(|range| range.end - range.start).sum();
    let starts: Vec<String> = damage.iter().map(|range| range.start.to_string()).collect();
    let starts = starts.join(", ");
    shared.note_damage(format!(
        "{} is damaged: {bytes} bytes from {starts} are not what was written; the rest is kept, a copy is {}",
        path.display(),
        copy.display(),
    ));
    Ok(())
}

/// Removes files no manifest names: a crash came between making them and naming them.
fn remove_orphans(shared: &Shared, found: &[String]) {
    let named: HashSet<String> = shared.catalog.current().paths();
    for orphan in found.iter().filter(|path| is(path, Kind::Data) && !named.contains(*path)) {
        let path = shared.layout.path(orphan);
        match fs::remove_file(&path) {
            Ok(()) => tracing::info!(file.path = %path.display(), "removed {}, left by a crash", path.display()),
            Err(error) => shared.note_error(&StoreError::write(format!("remove {}", path.display()), error)),
        }
    }
}

fn log_bytes(manifest: &Manifest) -> u64 {
    let segments = manifest.segments.iter().filter_map(|segment| segment.sealed_bytes);
    let replaced = manifest.replaced.iter().filter(|gone| is_segment(gone)).map(|gone| gone.bytes);
    segments.chain(replaced).sum()
}

/// Whether it counts towards the size of the log.
pub(crate) fn is_segment(replaced: &Replaced) -> bool {
    Signal::ALL.into_iter().any(|signal| layout::folder(&replaced.path) == layout::log_folder(signal))
}
