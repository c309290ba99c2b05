//! A picture to upload: PNG, drawn here, so that no file needs to lie anywhere.

use std::io::{self, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// What a telephone cuts out of a photograph for an avatar.
const SIDE: u32 = 400;

/// Soft colours with some grain: a few hundred kilobytes that, like a photograph, cost something to decode.
pub(super) fn avatar() -> io::Result<Vec<u8>> {
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::fast());
    for y in 0..SIDE {
        let mut row = vec![0]; // no filter
        for x in 0..SIDE {
            let grain = (x.wrapping_mul(31) ^ y.wrapping_mul(17)).wrapping_mul(0x9e37_79b9) >> 28;
            row.extend([x * 255 / SIDE, y * 255 / SIDE, (x + y) * 127 / SIDE].map(|soft| (soft ^ grain) as u8));
        }
        rows.write_all(&row)?;
    }
    let mut header = Vec::new();
    header.extend(SIDE.to_be_bytes());
    header.extend(SIDE.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // 8 bits of each of red, green and blue; no interlacing

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &rows.finish()?);
    chunk(&mut png, b"IEND", &[]);
    Ok(png)
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let mut check = Crc::new();
    check.update(name);
    check.update(content);
    png.extend((content.len() as u32).to_be_bytes());
    png.extend(name);
    png.extend(content);
    png.extend(check.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    #[test]
    fn it_is_a_png_of_its_size() {
        let png = super::avatar().expect("drawn");
        assert!((50_000..900_000).contains(&png.len()), "{} bytes", png.len());
        assert_eq!((&png[..8], &png[12..16]), (&b"\x89PNG\r\n\x1a\n"[..], &b"IHDR"[..]));
        let length = u32::from_be_bytes(png[33..37].try_into().expect("four bytes")) as usize;
        let mut pixels = Vec::new();
        flate2::read::ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut pixels).expect("zlib");
        assert_eq!(pixels.len(), 400 * (1 + 400 * 3));
    }
}
