//! Pictures that strangers send: looked at before they are unpacked, made small, stripped of everything but pixels.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::imageops;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

/// What a profile shows, in pixels.
pub(crate) const AVATAR_SIDE: u32 = 128;
/// More than phones make. The header is read first: a larger picture costs nothing but the reading of that.
pub(crate) const SIDE_MAX: u32 = 4_096;
/// A picture of the largest size as RGB, once, and what the decoder needs beside it; one worker makes one at a time.
const DECODED_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("must be a picture of at most {SIDE_MAX} by {SIDE_MAX} pixels")]
    TooLarge,
    #[error("must be a readable picture of the type that Content-Type names")]
    Unreadable,
    #[error("could not write the small picture")]
    Written(#[source] ImageError),
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
}

/// The middle of the picture, upright, as a small PNG. What the camera wrote beside the pixels (place, time) is gone.
pub(crate) fn avatar(kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, PictureError> {
    let middle = decode(kind, bytes)?.resize_to_fill(AVATAR_SIDE, AVATAR_SIDE, imageops::FilterType::Triangle);
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive);
    middle.to_rgba8().write_with_encoder(encoder).map_err(PictureError::Written)?;
    Ok(png)
}

fn decode(kind: Kind, bytes: &[u8]) -> Result<DynamicImage, PictureError> {
    let format = match kind {
        Kind::Png => ImageFormat::Png,
        Kind::Jpeg => ImageFormat::Jpeg,
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    if decoder.total_bytes() > DECODED_BYTES_MAX {
        return Err(PictureError::TooLarge);
    }
    let orientation = decoder.orientation().map_err(refusal)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The decoder's own words are for programmers.
fn refusal(error: ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooLarge,
        _ => PictureError::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let pixels = RgbImage::from_fn(width, height, |x, _| image::Rgb([(x % 256) as u8, 0, 80]));
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn any_picture_becomes_a_small_square() {
        for (kind, format) in [(Kind::Png, ImageFormat::Png), (Kind::Jpeg, ImageFormat::Jpeg)] {
            for (width, height) in [(1, 1), (640, 480), (100, 900)] {
                let png = avatar(kind, &picture(width, height, format)).unwrap();
                let small = image::load_from_memory_with_format(&png, ImageFormat::Png).unwrap();
                assert_eq!((small.width(), small.height()), (AVATAR_SIDE, AVATAR_SIDE), "{kind:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let png = picture(64, 64, ImageFormat::Png);
        for bytes in [&b""[..], b"<svg/>", &png[..png.len() / 2]] {
            assert!(matches!(avatar(Kind::Png, bytes), Err(PictureError::Unreadable)));
        }
        assert!(matches!(avatar(Kind::Jpeg, &png), Err(PictureError::Unreadable)), "it says one thing and is another");
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut png = picture(16, 16, ImageFormat::Png);
        // Width and height of the header, and its checksum: 60,000 by 60,000 pixels would be 10 GB.
        png[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(avatar(Kind::Png, &png), Err(PictureError::TooLarge)));
    }

    /// The checksum of PNG (ISO 3309), bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
