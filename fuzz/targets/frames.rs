//! A segment of frames with damage between them: every frame is found, nothing else is, and no payload makes a panic.
//!
//! Input: pieces of (kind, length, bytes); an even kind is a frame of these bytes, an odd one damage.

#![no_main]

use libfuzzer_sys::fuzz_target;
use store::fuzzing::{Piece, walk};

const PIECES_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let (mut pieces, mut rest) = (Vec::new(), input);
    while let [kind, length, bytes @ ..] = rest {
        let (bytes, after) = bytes.split_at(usize::from(*length).min(bytes.len()));
        rest = after;
        if !bytes.is_empty() && pieces.len() < PIECES_MAX {
            pieces.push(if kind % 2 == 0 { Piece::Frame(bytes) } else { Piece::Damage(bytes) });
        }
    }
    walk(&tempfile::tempfile().expect("a file"), &pieces);
});
