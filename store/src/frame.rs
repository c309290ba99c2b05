//! How bytes lie in a segment, and which of them can be trusted.
//!
//! A segment is a header and then frames. A frame is one group commit: it is there whole or not at all.
//!
//! ```text
//! segment: magic "FLTLOG02", salt (8 random bytes)
//! frame:   magic (4 bytes that follow from the salt), length of the payload (u32), CRC32C of salt, length and payload (u32),
//!          payload
//! ```
//! Numbers are little-endian. The salt keeps bytes inside a payload, which a client chose, from passing for a frame, and the
//! start of a frame is as unknown to the client: a payload full of starts would have each of them checked after a crash.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

pub(crate) const SEGMENT_HEADER_BYTES: usize = 16;
pub(crate) const FRAME_HEADER_BYTES: usize = 12;
/// Far above what a request can be; a longer length is damage, not a frame.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

const SEGMENT_MAGIC: [u8; 8] = *b"FLTLOG02";
const FRAME_MAGIC_BYTES: usize = 4;
/// How much is read at a time when looking for the next frame after damage.
const SEARCH_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u64);

impl Salt {
    pub(crate) fn random() -> Salt {
        Salt(uuid::Uuid::new_v4().as_u64_pair().0)
    }

    /// `None`: the file does not start like a segment.
    pub(crate) fn read(file: &File) -> io::Result<Option<Salt>> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (magic, salt) = header.split_at(8);
        Ok((magic == SEGMENT_MAGIC).then(|| Salt(u64_at(salt))))
    }

    /// 16 digits that no other segment has, of whatever store.
    pub(crate) fn digits(self) -> String {
        format!("{:016x}", self.0)
    }

    pub(crate) fn header(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header[..8].copy_from_slice(&SEGMENT_MAGIC);
        header[8..].copy_from_slice(&self.0.to_le_bytes());
        header
    }

    /// How each frame of the segment starts: the CRC32C of the salt in big-endian, for the checksums start from its other order.
    fn magic(self) -> [u8; FRAME_MAGIC_BYTES] {
        crc32c::crc32c(&self.0.to_be_bytes()).to_le_bytes()
    }

    fn checksum(self, length: u32, payload: &[u8]) -> u32 {
        let seed = crc32c::crc32c(&self.0.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(seed, &length.to_le_bytes()), payload)
    }
}

/// An empty frame to append a payload to.
pub(crate) fn start() -> Vec<u8> {
    vec![0; FRAME_HEADER_BYTES]
}

/// Writes the header over the place [`start`] left for it. `None`: too long.
pub(crate) fn finish(mut frame: Vec<u8>, salt: Salt) -> Option<Vec<u8>> {
    let payload = frame.len() - FRAME_HEADER_BYTES;
    let length = u32::try_from(payload).ok().filter(|_| payload <= PAYLOAD_BYTES_MAX)?;
    let checksum = salt.checksum(length, &frame[FRAME_HEADER_BYTES..]);
    frame[..4].copy_from_slice(&salt.magic());
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..12].copy_from_slice(&checksum.to_le_bytes());
    Some(frame)
}

/// What a bad frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Another process may be writing it: not yet.
    Growing,
    /// The writer died: the tail is torn, unless good frames follow.
    Abandoned,
    /// All of it was synced once: damage.
    Sealed,
}

/// Walks the frames of a segment from `offset` up to `end`.
pub(crate) struct Frames<'a> {
    pub(crate) file: &'a File,
    pub(crate) salt: Salt,
    pub(crate) mode: Mode,
    /// The end of the last frame that was good, or of the damage after it.
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Payload(Vec<u8>),
    /// These bytes are not what was written.
    Damage(Range<u64>),
}

impl Frames<'_> {
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        if let Some(payload) = self.read(self.offset)? {
            self.offset += (FRAME_HEADER_BYTES + payload.len()) as u64;
            return Ok(Some(Found::Payload(payload)));
        }
        let next = match self.mode {
            Mode::Growing => None,
            Mode::Abandoned => self.search()?,
            Mode::Sealed => Some(self.search()?.unwrap_or(self.end)),
        };
        let Some(next) = next else { return Ok(None) };
        let damage = self.offset..next;
        self.offset = next;
        Ok(Some(Found::Damage(damage)))
    }

    /// The payload of the frame at `offset`, when there is a good one.
    fn read(&self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let available = self.end.saturating_sub(offset);
        if available < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; FRAME_HEADER_BYTES];
        if !read_at(self.file, &mut header, offset)? || header[..4] != self.salt.magic() {
            return Ok(None);
        }
        let (length, checksum) = (u32_at(&header[4..]), u32_at(&header[8..]));
        let fits = u64::from(length) + FRAME_HEADER_BYTES as u64 <= available;
        if length == 0 || length as usize > PAYLOAD_BYTES_MAX || !fits {
            return Ok(None);
        }
        let mut payload = vec![0; length as usize];
        if !read_at(self.file, &mut payload, offset + FRAME_HEADER_BYTES as u64)? {
            return Ok(None);
        }
        Ok((self.salt.checksum(length, &payload) == checksum).then_some(payload))
    }

    /// Where the next good frame after the bad one at `self.offset` starts.
    fn search(&self) -> io::Result<Option<u64>> {
        let magic = self.salt.magic();
        let mut from = self.offset + 1;
        let mut window = vec![0; SEARCH_BYTES];
        while from + (FRAME_HEADER_BYTES as u64) < self.end {
            let length = SEARCH_BYTES.min((self.end - from) as usize);
            if !read_at(self.file, &mut window[..length], from)? {
                return Ok(None);
            }
            for (index, bytes) in window[..length].windows(FRAME_MAGIC_BYTES).enumerate() {
                if bytes == magic && self.read(from + index as u64)?.is_some() {
                    return Ok(Some(from + index as u64));
                }
            }
            // A magic may lie across two windows.
            from += (length - (FRAME_MAGIC_BYTES - 1)) as u64;
        }
        Ok(None)
    }
}

/// `false`: the file is shorter.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn u32_at(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `payloads` as frames, lets `change` at the bytes, and says what a walk finds.
    fn check(mode: Mode, payloads: &[&str], change: impl FnOnce(&mut Vec<u8>), expected: &[&str]) {
        let salt = Salt::random();
        let mut bytes = salt.header().to_vec();
        for payload in payloads {
            let mut frame = start();
            frame.extend_from_slice(payload.as_bytes());
            bytes.extend(finish(frame, salt).unwrap());
        }
        change(&mut bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(Salt::read(&file).unwrap(), Some(salt));
        let (offset, end) = (SEGMENT_HEADER_BYTES as u64, bytes.len() as u64);
        let mut frames = Frames { file: &file, salt, mode, offset, end };
        let mut found = Vec::new();
        while let Some(next) = frames.next().unwrap() {
            found.push(match next {
                Found::Payload(payload) => String::from_utf8(payload).unwrap(),
                Found::Damage(range) => format!("damage {}..{}", range.start, range.end),
            });
        }
        assert_eq!(found, expected, "{mode:?}");
    }

    #[test]
    fn a_torn_tail_is_not_yet_there_or_never_was() {
        for mode in [Mode::Growing, Mode::Abandoned] {
            for cut in 1..=16 {
                let tear = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - cut);
                check(mode, &["one", "two", "more"], tear, &["one", "two"]);
            }
            check(mode, &["one"], |bytes| bytes.extend([0; 64]), &["one"]);
        }
    }

    #[test]
    fn damage_in_the_middle_costs_only_its_frame() {
        let flips = [0, 2, 4, 7, 9, 12, 14]; // magic, length, checksum, payload
        for flip in flips {
            let change = |bytes: &mut Vec<u8>| bytes[16 + 15 + flip] ^= 0x10;
            check(Mode::Growing, &["one", "two", "six"], change, &["one"]);
            for mode in [Mode::Abandoned, Mode::Sealed] {
                check(mode, &["one", "two", "six"], change, &["one", "damage 31..46", "six"]);
            }
        }
    }

    #[test]
    fn a_bad_tail_of_a_sealed_segment_is_damage() {
        let change = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
        check(Mode::Sealed, &["one", "two"], change, &["one", "damage 31..46"]);
    }

    #[test]
    fn no_two_segments_start_their_frames_alike() {
        let starts = [Salt(1), Salt(2), Salt(1 << 56), Salt::random()].map(Salt::magic);
        assert!(starts.iter().enumerate().all(|(index, start)| !starts[..index].contains(start)), "{starts:?}");
        assert_ne!(Salt(7).checksum(0, b"").to_le_bytes(), Salt(7).magic());
    }

    #[test]
    fn a_frame_inside_a_payload_is_not_a_frame() {
        let mut forged = start();
        forged.extend_from_slice(b"evil");
        let forged = finish(forged, Salt(0)).unwrap();
        let outer = String::from_utf8_lossy(&forged).into_owned();
        let change = |bytes: &mut Vec<u8>| {
            let tail = bytes.len() - forged.len();
            bytes[tail..].copy_from_slice(&forged);
            bytes[16] ^= 1;
        };
        check(Mode::Abandoned, &[&outer], change, &[]);
    }
}
