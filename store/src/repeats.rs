//! Requests that come again: a client whose answer got lost sends the same bytes, and the rows are there already.
//!
//! A digest rests in the frame of the rows it stands for, so both are durable or neither is. Frames leave with compaction, which
//! comes sooner than a retry may; before a segment is sealed the digests of all of them are therefore written to a file beside
//! the log. So whoever opens the folder finds each digest in that file, or in a segment that was never sealed.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::Duration;

use model::Signal;

use crate::faults::{Faults, Step};
use crate::layout::{self, Layout};
use crate::manifest::sync_folder;
use crate::shared::Shared;

/// Stands for the bytes of one request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; DIGEST_BYTES]);

pub(crate) const DIGEST_BYTES: usize = 16;

/// How long, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The same bytes are the same request for this long after they became durable.
    pub window: Duration,
    /// Requests remembered of each signal, at some 60 bytes; beyond it the oldest are forgotten before their time.
    pub requests_max: usize,
}

/// What became of a request that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Its rows are durable now.
    Now,
    /// They were already, from the same bytes.
    Before,
}

/// A request that is durable, and since when, wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) digest: Digest,
    pub(crate) at_ms: u64,
}

/// `at_ms` (u64, little-endian), digest.
pub(crate) const SEEN_BYTES: usize = 8 + DIGEST_BYTES;

impl Seen {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend(self.at_ms.to_le_bytes());
        out.extend(self.digest.0);
    }

    /// Each whole entry.
    pub(crate) fn read_all(bytes: &[u8]) -> impl Iterator<Item = Seen> {
        bytes.chunks_exact(SEEN_BYTES).filter_map(|entry| {
            let (at_ms, digest) = entry.split_first_chunk()?;
            Some(Seen { at_ms: u64::from_le_bytes(*at_ms), digest: Digest(digest.try_into().ok()?) })
        })
    }
}

/// The requests of one signal that are durable, as far back as anybody asks.
#[derive(Debug)]
pub(crate) struct Known {
    repeats: Repeats,
    /// In the order they became durable.
    order: VecDeque<Seen>,
    digests: HashSet<Digest>,
}

impl Known {
    pub(crate) fn new(repeats: Repeats) -> Known {
        Known { repeats, order: VecDeque::new(), digests: HashSet::new() }
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.digests.contains(&digest)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn extend(&mut self, seen: impl IntoIterator<Item = Seen>) {
        for seen in seen {
            if self.digests.insert(seen.digest) {
                self.order.push_back(seen);
            }
        }
        while self.order.len() > self.repeats.requests_max {
            self.forget_oldest();
        }
    }

    /// Those whose time is over.
    pub(crate) fn forget(&mut self, now_ms: u64) {
        let window_ms = u64::try_from(self.repeats.window.as_millis()).unwrap_or(u64::MAX);
        while self.order.front().is_some_and(|seen| seen.at_ms.saturating_add(window_ms) <= now_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(seen) = self.order.pop_front() {
            self.digests.remove(&seen.digest);
        }
    }

    /// What the file says, or nothing: a file that cannot be read must not keep the store closed.
    pub(crate) fn open(shared: &Shared, signal: Signal, repeats: Repeats) -> Known {
        let mut known = Known::load(&shared.layout, signal, repeats).unwrap_or_else(|error| {
            let path = shared.layout.path(&layout::repeats(signal));
            shared.note_damage(format!(
                "{} cannot be read: {error}; requests before this start may be kept twice",
                path.display()
            ));
            Known::new(repeats)
        });
        known.forget(layout::now_ms());
        known
    }

    /// From nothing when there is no file. An error: it cannot be read, or is not what was written.
    fn load(layout: &Layout, signal: Signal, repeats: Repeats) -> io::Result<Known> {
        let mut known = Known::new(repeats);
        let bytes = match fs::read(layout.path(&layout::repeats(signal))) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(known),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        let (checksum, entries) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk).ok_or_else(damaged)?;
        if crc32c::crc32c(entries) != u32::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        known.extend(Seen::read_all(entries));
        Ok(known)
    }

    /// Replaces the file; returns when that is durable.
    pub(crate) fn save(&self, layout: &Layout, faults: &Faults, signal: Signal) -> io::Result<()> {
        let mut entries = Vec::with_capacity(self.order.len() * SEEN_BYTES);
        self.order.iter().for_each(|seen| seen.write(&mut entries));
        let path = layout.path(&layout::repeats(signal));
        let temporary = layout::temporary(&path);
        faults.at(Step::SaveRepeats)?;
        let mut file = File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32c::crc32c(&entries).to_le_bytes())?;
        file.write_all(&entries)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_folder(&layout.path(layout::REPEATS))
    }
}

/// How the file begins; then the CRC32C of what follows (u32, little-endian), and the entries, oldest first.
const MAGIC: &[u8] = b"FLTREP01";

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u8, at_ms: u64) -> Seen {
        Seen { digest: Digest([number; DIGEST_BYTES]), at_ms }
    }

    fn check(known: &Known, expected: &[u8]) {
        let numbers: Vec<u8> = known.order.iter().map(|seen| seen.digest.0[0]).collect();
        assert_eq!(numbers, expected);
        assert!(expected.iter().all(|number| known.has(Digest([*number; DIGEST_BYTES]))));
        assert_eq!(known.digests.len(), expected.len());
    }

    #[test]
    fn requests_are_known_for_a_time_and_up_to_a_number() {
        let mut known = Known::new(Repeats { window: Duration::from_millis(100), requests_max: 3 });
        known.extend([seen(1, 10), seen(2, 20), seen(1, 30)]);
        check(&known, &[1, 2]);
        known.extend([seen(3, 30), seen(4, 40)]);
        check(&known, &[2, 3, 4]);
        known.forget(119);
        check(&known, &[2, 3, 4]);
        known.forget(130);
        check(&known, &[4]);
    }

    #[test]
    fn a_file_is_what_was_written_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path()).unwrap();
        fs::create_dir_all(layout.path(layout::REPEATS)).unwrap();
        let repeats = Repeats { window: Duration::from_secs(600), requests_max: 10 };
        let load = || Known::load(&layout, Signal::Logs, repeats);
        check(&load().unwrap(), &[]);

        let mut known = Known::new(repeats);
        known.extend([seen(1, 10), seen(2, u64::MAX)]);
        known.save(&layout, &Faults::default(), Signal::Logs).unwrap();
        check(&load().unwrap(), &[1, 2]);

        let path = layout.path(&layout::repeats(Signal::Logs));
        let good = fs::read(&path).unwrap();
        for bad in [&good[..good.len() - 1], &good[..9], b"", &[&good[..20], b"x", &good[21..]].concat()] {
            fs::write(&path, bad).unwrap();
            assert!(load().is_err(), "{} bytes", bad.len());
        }
    }
}
