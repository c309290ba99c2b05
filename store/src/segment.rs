//! The segment a commit thread writes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use model::Signal;

use crate::faults::{Faults, Step};
use crate::frame::{SEGMENT_HEADER_BYTES, Salt};
use crate::layout::{self, Layout};
use crate::manifest::{Tally, sync_folder};

/// A file only its thread writes to. What is beyond `bytes` was never promised to anyone.
#[derive(Debug)]
pub(crate) struct Active {
    file: File,
    pub(crate) number: u64,
    pub(crate) salt: Salt,
    /// Up to here everything is durable.
    pub(crate) bytes: u64,
    /// What its rows take in the memory of a reader, which has them unpacked.
    pub(crate) unpacked_bytes: u64,
    /// No fsync of it has failed.
    pub(crate) intact: bool,
    /// When the first frame was written.
    pub(crate) first: Option<Instant>,
    /// Of what is durable.
    pub(crate) tally: Tally,
}

impl Active {
    /// A durable file with a durable name and no frames. It is nobody's until the manifest names it.
    pub(crate) fn create(layout: &Layout, faults: &Faults, signal: Signal, number: u64) -> io::Result<Active> {
        let path = layout.path(&layout::segment(signal, number));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let (bytes, unpacked_bytes) = (SEGMENT_HEADER_BYTES as u64, 0);
        let (salt, tally) = (Salt::random(), Tally::default());
        let active = Active { file, number, salt, bytes, unpacked_bytes, intact: true, first: None, tally };
        if let Err(error) = active.start(layout, faults, signal) {
            // The next attempt has another number: on a full disk there would soon be thousands.
            let _ = active.remove(layout, signal);
            return Err(error);
        }
        Ok(active)
    }

    fn start(&self, layout: &Layout, faults: &Faults, signal: Signal) -> io::Result<()> {
        faults.at(Step::CreateSegment)?;
        self.file.write_all_at(&self.salt.header(), 0)?;
        self.file.sync_all()?;
        sync_folder(&layout.path(&layout::log_folder(signal)))
    }

    /// Returns when the frame of `rows` is durable. After a failed fsync nothing more may be appended: a later one could succeed
    /// without the pages this one lost.
    pub(crate) fn append(&mut self, frame: &[u8], rows: u64, faults: &Faults) -> io::Result<()> {
        faults.at(Step::WriteFrame)?;
        self.file.write_all_at(frame, self.bytes)?;
        self.intact = false;
        faults.at(Step::SyncFrame)?;
        self.file.sync_data()?;
        self.intact = true;
        self.bytes += frame.len() as u64;
        if self.first.is_none() {
            self.first = Some(Instant::now());
            self.tally.first_ms = layout::now_ms();
        }
        self.tally.rows += rows;
        Ok(())
    }

    /// Takes what was not promised off the file, so that it is not found after a restart. Best effort: the manifest also says
    /// how much counts.
    pub(crate) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)
    }

    pub(crate) fn remove(self, layout: &Layout, signal: Signal) -> io::Result<()> {
        fs::remove_file(layout.path(&layout::segment(signal, self.number)))
    }
}
