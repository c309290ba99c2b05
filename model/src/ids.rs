//! Trace and span ids: bytes at rest, lower-case hex to people.

/// W3C trace id; all zero means none.
pub type TraceId = [u8; 16];
/// W3C span id; all zero means none.
pub type SpanId = [u8; 8];

/// 32 hex digits of either case. `None` for anything else and for the all-zero id.
pub fn parse_trace_id(text: &str) -> Option<TraceId> {
    parse(text)
}

/// 16 hex digits of either case. `None` for anything else and for the all-zero id.
pub fn parse_span_id(text: &str) -> Option<SpanId> {
    parse(text)
}

/// Lower-case hex, two digits a byte.
pub fn format(id: &[u8]) -> String {
    hex::encode(id)
}

fn parse<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut id = [0; BYTES];
    hex::decode_to_slice(text, &mut id).ok()?;
    id.iter().any(|byte| *byte != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_case_and_leading_zeros() {
        let id = parse_span_id("00aBcDeF01234567").unwrap();
        assert_eq!(format(&id), "00abcdef01234567");
        assert!(parse_trace_id("0000000000000000000000000000000f").is_some());
    }

    #[test]
    fn what_is_no_id() {
        for text in
            ["", "0", "0000000000000000", "00abcdef0123456", "00abcdef0123456x", "00abcdef012345678", "é0abcdef0123456"]
        {
            assert_eq!(parse_span_id(text), None, "{text}");
        }
    }
}
