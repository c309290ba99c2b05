//! One attribute value as text: what stands in a `value` column and the letter that stands in its `*_types` column.
//!
//! | letter | type | text |
//! |---|---|---|
//! | s | string | itself |
//! | b | bool | `true`, `false` |
//! | i | int | decimal |
//! | d | double | shortest decimal that reads back to the same bits (`5.0`, `1e300`), `NaN`, `Infinity`, `-Infinity` |
//! | x | bytes | base64 |
//! | a, m | array, map | JSON, see [`nested`] |
//! | n | a value with no type | empty |
//! | - | no value at all | empty |

pub(crate) mod nested;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::DecodeError;
use crate::wire::{Message, Writer};

/// How deep values are read, the attribute's own value counted as one. An array or map that stands at the limit and has items
/// is kept as the bytes it came as, and costs neither its record nor its neighbours: readers recurse, and JSON spends up to
/// four levels on each of ours (its own limit is 128). A request in JSON beyond the limit is refused.
pub const NESTING_MAX: usize = 24;

/// The letters of `*_types` columns.
pub mod letter {
    pub const STRING: u8 = b's';
    pub const BOOL: u8 = b'b';
    pub const INT: u8 = b'i';
    pub const DOUBLE: u8 = b'd';
    pub const BYTES: u8 = b'x';
    pub const ARRAY: u8 = b'a';
    pub const MAP: u8 = b'm';
    pub const EMPTY: u8 = b'n';
    pub const ABSENT: u8 = b'-';
}

/// A value that does not come from the wire: its text and its letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub text: String,
    pub letter: u8,
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value { text, letter: letter::STRING }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value { text: value.to_string(), letter: letter::BOOL }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value { text: value.to_string(), letter: letter::INT }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value { text: double_text(value), letter: letter::DOUBLE }
    }
}

/// An `AnyValue`, read one level deep.
#[derive(Clone, Copy)]
pub(crate) enum Any<'a> {
    Empty,
    String(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// An `ArrayValue`: field 1 repeats `AnyValue`.
    Array(Message<'a>),
    /// A `KeyValueList`: field 1 repeats `KeyValue`.
    Map(Message<'a>),
    Bytes(&'a [u8]),
}

impl<'a> Any<'a> {
    /// The last field wins, as in any protobuf `oneof`.
    #[inline]
    pub(crate) fn read(mut message: Message<'a>) -> Result<Any<'a>, DecodeError> {
        let mut value = Any::Empty;
        while let Some(field) = message.next()? {
            value = match field.number {
                1 => Any::String(field.bytes()?),
                2 => Any::Bool(field.varint()? != 0),
                3 => Any::Int(field.varint()? as i64),
                4 => Any::Double(field.double()?),
                5 => Any::Array(field.message()?),
                6 => Any::Map(field.message()?),
                7 => Any::Bytes(field.bytes()?),
                _ => value,
            };
        }
        Ok(value)
    }

    /// Whether there are values inside, one level deeper.
    pub(crate) fn has_items(self) -> bool {
        matches!(self, Any::Array(items) | Any::Map(items) if !items.is_empty())
    }
}

/// A `KeyValue`: its key, and its value unless it has none.
#[inline]
pub(crate) fn read_key_value<'a>(mut message: Message<'a>) -> Result<(&'a [u8], Option<Message<'a>>), DecodeError> {
    let (mut key, mut value) = (&[][..], None);
    while let Some(field) = message.next()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = Some(field.message()?),
            _ => {}
        }
    }
    Ok((key, value))
}

/// Appends the text of an `AnyValue`, not yet checked for UTF-8 where it is a string, and returns its letter.
#[inline]
pub(crate) fn write_text(value: Message<'_>, text: &mut Vec<u8>) -> Result<u8, DecodeError> {
    Ok(match Any::read(value)? {
        Any::Empty => letter::EMPTY,
        Any::String(bytes) => {
            text.extend_from_slice(bytes);
            letter::STRING
        }
        Any::Bool(value) => {
            text.extend_from_slice(if value { b"true" } else { b"false" });
            letter::BOOL
        }
        Any::Int(value) => {
            write_int(value, text);
            letter::INT
        }
        Any::Double(value) => {
            write_double(value, text);
            letter::DOUBLE
        }
        Any::Bytes(bytes) => {
            text.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            letter::BYTES
        }
        any @ Any::Array(_) => {
            nested::write(any, value, text)?;
            letter::ARRAY
        }
        any @ Any::Map(_) => {
            nested::write(any, value, text)?;
            letter::MAP
        }
    })
}

pub(crate) fn write_int(value: i64, text: &mut Vec<u8>) {
    write!(text, "{value}").expect("a Vec takes every byte");
}

pub(crate) fn write_double(value: f64, text: &mut Vec<u8>) {
    match special_double(value) {
        Some(name) => text.extend_from_slice(name.as_bytes()),
        None => write!(text, "{value:?}").expect("a Vec takes every byte"),
    }
}

fn double_text(value: f64) -> String {
    let mut text = Vec::new();
    write_double(value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The name of a double that JSON has no number for.
pub(crate) fn special_double(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// The other way round: a number, or one of the three names.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust reads further spellings of the three ("inf"), which mean nothing here.
        _ if text.ends_with(|last: char| last.is_ascii_digit() || last == '.') => text.parse().ok(),
        _ => None,
    }
}

/// Base64 of either alphabet, padded or not: every writer of OTLP/JSON has its own habit.
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ALPHABETS: [GeneralPurpose; 2] =
        [GeneralPurpose::new(&alphabet::STANDARD, LENIENT), GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT)];
    ALPHABETS.iter().find_map(|alphabet| alphabet.decode(text).ok())
}

/// Writes the fields of the `AnyValue` that `write_text` made this letter and text of.
/// Text that does not fit its letter (someone else wrote the file) is written as the string it is.
pub(crate) fn write_wire(letter: u8, text: &str, out: &mut Writer) {
    let start = out.len();
    if typed(letter, text, out).is_none() {
        out.truncate(start);
        out.bytes(1, text.as_bytes());
    }
}

fn typed(letter: u8, text: &str, out: &mut Writer) -> Option<()> {
    match letter {
        letter::STRING => out.bytes(1, text.as_bytes()),
        letter::BOOL => out.varint(2, u64::from(text.parse::<bool>().ok()?)),
        letter::INT => out.varint(3, text.parse::<i64>().ok()? as u64),
        letter::DOUBLE => out.double(4, parse_double(text)?),
        letter::BYTES => out.bytes(7, &parse_base64(text)?),
        letter::ARRAY | letter::MAP => nested::read(text, out).ok()?,
        letter::EMPTY => {}
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_back_to_the_same_bits() {
        for value in [
            0.0,
            -0.0,
            5.0,
            0.1,
            1e300,
            f64::MIN_POSITIVE / 3.0,
            f64::MAX,
            1e16,
            -2.5e-8,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            assert_eq!(parse_double(&double_text(value)).unwrap().to_bits(), value.to_bits());
        }
        assert!(parse_double(&double_text(f64::NAN)).unwrap().is_nan());
        assert_eq!(double_text(5.0), "5.0");
    }

    #[test]
    fn other_names_of_infinity_are_no_doubles() {
        for text in ["inf", "-inf", "nan", "infinity", "", "NAN", "1x"] {
            assert_eq!(parse_double(text), None, "{text}");
        }
    }

    #[test]
    fn base64_of_every_habit() {
        for text in ["-_8=", "+/8=", "+/8", "-_8"] {
            assert_eq!(parse_base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(parse_base64("?"), None);
    }
}
