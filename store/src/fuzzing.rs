//! The door of the fuzz targets to what lies in a segment. Not in any other build.

use std::fs::File;
use std::io::Write;

use crate::frame::{self, Found, Frames, Mode, SEGMENT_HEADER_BYTES, Salt};
use crate::payload::{self, Decoded};

#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// A good frame with this payload.
    Frame(&'a [u8]),
    /// Bytes that are no frame.
    Damage(&'a [u8]),
}

/// Writes the pieces as a segment into an empty `file` and reads it in every way it can be read.
///
/// # Panics
/// When a frame is not found, or something else is.
pub fn walk(mut file: &File, pieces: &[Piece<'_>]) {
    let salt = Salt::random();
    let mut segment = salt.header().to_vec();
    for piece in pieces {
        match piece {
            Piece::Frame(payload) => {
                let mut frame = frame::start();
                frame.extend_from_slice(payload);
                segment.extend(frame::finish(frame, salt).expect("a short payload"));
            }
            Piece::Damage(bytes) => segment.extend_from_slice(bytes),
        }
    }
    file.write_all(&segment).expect("room");
    let end = segment.len() as u64;
    let all: Vec<&[u8]> = pieces.iter().filter_map(payload_of).collect();
    let first: Vec<&[u8]> = pieces.iter().map_while(payload_of).collect();
    assert_eq!(found(file, salt, Mode::Growing, end), first);
    assert_eq!(found(file, salt, Mode::Abandoned, end), all);
    assert_eq!(found(file, salt, Mode::Sealed, end), all);
    let mut frames = Frames { file, salt, mode: Mode::Sealed, offset: SEGMENT_HEADER_BYTES as u64, end };
    let mut decoded = Decoded::new(&mut frames);
    while let Some(tables) = decoded.next().expect("a readable file") {
        for (_, packed, _) in tables {
            // Bytes of a client never get here without a checksum of ours; an error is an answer all the same.
            let _ = packed.unpack();
        }
    }
    assert_eq!(decoded.offset(), end);
}

fn payload_of<'a>(piece: &Piece<'a>) -> Option<&'a [u8]> {
    match *piece {
        Piece::Frame(payload) => Some(payload),
        Piece::Damage(_) => None,
    }
}

fn found(file: &File, salt: Salt, mode: Mode, end: u64) -> Vec<Vec<u8>> {
    let mut frames = Frames { file, salt, mode, offset: SEGMENT_HEADER_BYTES as u64, end };
    let mut payloads = Vec::new();
    while let Some(found) = frames.next().expect("a readable file") {
        if let Found::Payload(payload) = found {
            payload::count_rows(&payload);
            payloads.push(payload);
        }
    }
    payloads
}
