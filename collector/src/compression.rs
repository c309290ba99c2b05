//! Inflates request bodies; both limits are checked while inflating, so a bomb costs one step past them.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::gate::Lease;
use crate::refusal::Refusal;

/// The value of `Accept-Encoding` and `grpc-accept-encoding`.
pub(crate) const ACCEPTED: &str = "gzip, deflate, zstd, identity";

/// Bytes inflated between two looks at the limits.
const STEP_BYTES: u64 = 64 << 10;

/// Largest zstd window, as a power of two: 8 MiB, what RFC 8878 asks every decoder to support. A frame may ask for gigabytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Compression {
    /// From `Content-Encoding` or `grpc-encoding`.
    pub(crate) fn from_name(name: &str) -> Result<Compression, Refusal> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Compression::Identity),
            "gzip" | "x-gzip" => Ok(Compression::Gzip),
            "deflate" => Ok(Compression::Deflate),
            "zstd" => Ok(Compression::Zstd),
            other => Err(Refusal::UnknownCompression(other.to_owned())),
        }
    }

    /// The bytes as they were before compression, with room for them taken from the lease in place of that for `body`.
    pub(crate) fn inflate(self, body: Bytes, bytes_max: usize, lease: &mut Lease) -> Result<Bytes, Refusal> {
        let inflated = match self {
            Compression::Identity => return Ok(body),
            Compression::Gzip => drain("gzip", MultiGzDecoder::new(&body[..]), bytes_max, lease)?,
            Compression::Deflate => drain("deflate", ZlibDecoder::new(&body[..]), bytes_max, lease)?,
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                drain("zstd", decoder.map_err(|error| broken("zstd", &error))?, bytes_max, lease)?
            }
        };
        lease.shrink(body.len());
        Ok(inflated.into())
    }
}

/// What it took of the lease goes back when it fails.
fn drain(name: &str, mut decoder: impl Read, bytes_max: usize, lease: &mut Lease) -> Result<Vec<u8>, Refusal> {
    let (mut inflated, mut taken) = (Vec::new(), 0);
    let mut steps = || {
        loop {
            let step =
                decoder.by_ref().take(STEP_BYTES.min((bytes_max as u64).saturating_add(1))).read_to_end(&mut inflated);
            let bytes = step.map_err(|error| broken(name, &error))?;
            if bytes == 0 {
                return Ok(());
            }
            if inflated.len() > bytes_max {
                return Err(Refusal::TooLarge { bytes_max });
            }
            lease.grow(bytes)?;
            taken += bytes;
        }
    };
    let ended = steps();
    if ended.is_err() {
        lease.shrink(taken);
    }
    ended.map(|()| inflated)
}

fn broken(name: &str, error: &std::io::Error) -> Refusal {
    Refusal::Malformed(format!("the body is not valid {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::args::{Limits, test_limits};
    use crate::gate::Gate;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    fn inflate(name: &str, body: Vec<u8>, limits: Limits) -> (Result<Bytes, Refusal>, usize) {
        let gate = Gate::new(&limits);
        let mut lease = gate.enter(None).expect("empty gate");
        lease.grow(body.len()).expect("room for the body");
        let compression = Compression::from_name(name).expect("known name");
        let inflated = compression.inflate(body.into(), limits.otlp_request_bytes_max, &mut lease);
        (inflated, gate.in_flight().bytes)
    }

    #[test]
    fn every_accepted_encoding_gives_the_bytes_back() {
        let text = b"the same words, the same words, the same words".repeat(10_000);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).expect("writes to memory");
        let encoded = [
            ("gzip", gzip(&text)),
            ("X-GZIP", [gzip(&text[..7]), gzip(&text[7..])].concat()),
            ("deflate", zlib.finish().expect("writes to memory")),
            ("zstd", zstd::encode_all(&text[..], 1).expect("writes to memory")),
            ("identity", text.clone()),
        ];
        for (name, body) in encoded {
            let (inflated, held) = inflate(name, body, test_limits());
            assert_eq!(inflated, Ok(text.clone().into()), "{name}");
            assert_eq!(held, text.len(), "{name}: the lease covers the inflated bytes alone");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 8 << 20]);
        let bomb_bytes = bomb.len();
        let limits = Limits { otlp_request_bytes_max: 1 << 20, ..test_limits() };
        let (inflated, held) = inflate("gzip", bomb, limits);
        assert_eq!(inflated, Err(Refusal::TooLarge { bytes_max: 1 << 20 }));
        assert_eq!(held, bomb_bytes, "what it took for inflating is free again");
    }

    #[test]
    fn a_bomb_stops_where_memory_does() {
        let limits = Limits { otlp_in_flight_bytes_max: 1 << 20, ..test_limits() };
        let (inflated, _) = inflate("gzip", gzip(&vec![0; 8 << 20]), limits);
        assert!(matches!(inflated, Err(Refusal::Busy { .. })));
    }

    #[test]
    fn what_is_cut_or_foreign_is_malformed() {
        let mut cut = gzip(b"some words");
        cut.truncate(12);
        for (name, body) in
            [("gzip", cut), ("gzip", b"plain".to_vec()), ("deflate", b"plain".to_vec()), ("zstd", b"plain".to_vec())]
        {
            assert!(matches!(inflate(name, body, test_limits()).0, Err(Refusal::Malformed(_))), "{name}");
        }
        assert_eq!(Compression::from_name("br"), Err(Refusal::UnknownCompression("br".into())));
    }
}
