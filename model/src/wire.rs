//! Protobuf on the wire: a cursor that reads fields in place, and a writer. Neither knows any message.
//!
//! The cursor copies nothing: a nested message is the same body with narrower bounds, so every error names the byte in the
//! request. Unknown fields, groups included, are skipped by whoever ignores their number.

use crate::DecodeError;

/// How deep groups (an encoding OTLP never uses) may nest inside an unknown field.
const GROUP_DEPTH_MAX: usize = 16;
/// Bytes of the longest varint: 64 bits, seven a byte.
const VARINT_BYTES_MAX: usize = 10;
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

/// Part of a body that holds one message; iterate with [`Message::next`]. Copy it to read it twice.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
}

/// One field: its number, and its payload through the accessor of the type the reader expects.
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    at: usize,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Delimited(Message<'a>),
}

impl<'a> Message<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Message<'a> {
        Message { body, at: 0, end: body.len() }
    }

    /// The bytes between the bounds that are not read yet.
    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        &self.body[self.at..self.end]
    }

    pub(crate) fn is_empty(self) -> bool {
        self.at == self.end
    }

    pub(crate) fn len(self) -> usize {
        self.end - self.at
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn malformed(self, what: impl Into<String>) -> DecodeError {
        DecodeError::Protobuf { offset: self.at, what: what.into() }
    }

    /// The next field, or `None` at the end of the message.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        loop {
            if self.at == self.end {
                return Ok(None);
            }
            let at = self.at;
            let (number, wire_type) = self.tag()?;
            let payload = match wire_type {
                0 => Payload::Varint(self.varint()?),
                1 => Payload::Fixed64(u64::from_le_bytes(self.fixed()?)),
                2 => Payload::Delimited(self.delimited()?),
                3 => {
                    self.skip_group(number, GROUP_DEPTH_MAX)?;
                    continue;
                }
                5 => Payload::Fixed32(u32::from_le_bytes(self.fixed()?)),
                other => return Err(Message { at, ..*self }.malformed(format!("wire type {other} is not one"))),
            };
            return Ok(Some(Field { number, at, payload }));
        }
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), DecodeError> {
        let start = *self;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(start.malformed(format!("{number} is not a field number")));
        }
        Ok((number as u32, (tag & 7) as u8))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.body[..self.end].get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (index, byte) in self.bytes().iter().take(VARINT_BYTES_MAX).enumerate() {
            // The tenth byte carries the 64th bit alone.
            if index == VARINT_BYTES_MAX - 1 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        let cut_off = self.len() < VARINT_BYTES_MAX;
        Err(self.malformed(if cut_off { "a varint is cut off" } else { "a varint exceeds 64 bits" }))
    }

    #[inline]
    fn fixed<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], DecodeError> {
        match self.bytes().first_chunk() {
            Some(bytes) => {
                self.at += BYTES;
                Ok(*bytes)
            }
            None => Err(self.malformed("a number is cut off")),
        }
    }

    #[inline]
    fn delimited(&mut self) -> Result<Message<'a>, DecodeError> {
        let length = self.varint()?;
        if length > self.len() as u64 {
            return Err(self.malformed(format!("{length} bytes announced, {} there", self.len())));
        }
        let at = self.at;
        self.at += length as usize;
        Ok(Message { body: self.body, at, end: self.at })
    }

    #[cold]
    fn skip_group(&mut self, number: u32, depth_left: usize) -> Result<(), DecodeError> {
        if depth_left == 0 {
            return Err(self.malformed(format!("groups nest deeper than {GROUP_DEPTH_MAX}")));
        }
        loop {
            let start = *self;
            match self.tag()? {
                (_, 0) => drop(self.varint()?),
                (_, 1) => drop(self.fixed::<8>()?),
                (_, 2) => drop(self.delimited()?),
                (inner, 3) => self.skip_group(inner, depth_left - 1)?,
                (end, 4) if end == number => return Ok(()),
                (_, 5) => drop(self.fixed::<4>()?),
                _ => return Err(start.malformed("a group does not end")),
            }
        }
    }
}

impl<'a> Field<'a> {
    #[inline]
    pub(crate) fn message(self) -> Result<Message<'a>, DecodeError> {
        match self.payload {
            Payload::Delimited(message) => Ok(message),
            _ => Err(self.unexpected("length-delimited")),
        }
    }

    #[inline]
    pub(crate) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        Ok(self.message()?.bytes())
    }

    #[inline]
    pub(crate) fn varint(self) -> Result<u64, DecodeError> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => Err(self.unexpected("a varint")),
        }
    }

    /// `uint32`, `int32` and enums: the low 32 bits, as every protobuf reader takes them.
    #[inline]
    pub(crate) fn uint32(self) -> Result<u32, DecodeError> {
        Ok(self.varint()? as u32)
    }

    #[inline]
    pub(crate) fn int32(self) -> Result<i32, DecodeError> {
        Ok(self.varint()? as i32)
    }

    #[inline]
    pub(crate) fn sint32(self) -> Result<i32, DecodeError> {
        let zigzag = self.uint32()?;
        Ok((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
    }

    #[inline]
    pub(crate) fn fixed64(self) -> Result<u64, DecodeError> {
        match self.payload {
            Payload::Fixed64(value) => Ok(value),
            _ => Err(self.unexpected("64 bits")),
        }
    }

    #[inline]
    pub(crate) fn double(self) -> Result<f64, DecodeError> {
        Ok(f64::from_bits(self.fixed64()?))
    }

    #[inline]
    pub(crate) fn fixed32(self) -> Result<u32, DecodeError> {
        match self.payload {
            Payload::Fixed32(value) => Ok(value),
            _ => Err(self.unexpected("32 bits")),
        }
    }

    /// A repeated `fixed64` or `double`, packed or one at a time.
    pub(crate) fn each_fixed64(self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        let Payload::Delimited(mut packed) = self.payload else {
            each(self.fixed64()?);
            return Ok(());
        };
        while !packed.is_empty() {
            each(u64::from_le_bytes(packed.fixed()?));
        }
        Ok(())
    }

    /// A repeated varint, packed or one at a time.
    pub(crate) fn each_varint(self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        let Payload::Delimited(mut packed) = self.payload else {
            each(self.varint()?);
            return Ok(());
        };
        while !packed.is_empty() {
            each(packed.varint()?);
        }
        Ok(())
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> DecodeError {
        let what = format!("field {} should be {wanted}", self.number);
        DecodeError::Protobuf { offset: self.at, what }
    }
}

/// Writes fields one after the other. Absent and default are the caller's business.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

/// Where the length of an open message belongs.
#[must_use]
pub(crate) struct Open(usize);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets everything after `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(crate) fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.raw_varint(value);
    }

    pub(crate) fn fixed64(&mut self, number: u32, value: u64) {
        self.tag(number, 1);
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.fixed64(number, value.to_bits());
    }

    pub(crate) fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, 5);
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, 2);
        self.raw_varint(value.len() as u64);
        self.raw(value);
    }

    pub(crate) fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer)) {
        let open = self.open(number);
        write(self);
        self.close(open);
    }

    pub(crate) fn open(&mut self, number: u32) -> Open {
        self.tag(number, 2);
        self.bytes.push(0);
        Open(self.bytes.len())
    }

    /// One byte was kept for the length; a longer one moves what was written.
    pub(crate) fn close(&mut self, Open(start): Open) {
        let (length, count) = encode_varint((self.bytes.len() - start) as u64);
        self.bytes.splice(start - 1..start, length[..count].iter().copied());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn raw_varint(&mut self, value: u64) {
        let (bytes, count) = encode_varint(value);
        self.raw(&bytes[..count]);
    }

    fn tag(&mut self, number: u32, wire_type: u8) {
        self.raw_varint(u64::from(number) << 3 | u64::from(wire_type));
    }
}

/// What proto3 leaves out: the default values of fields without presence.
impl Writer {
    pub(crate) fn nonzero_varint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.varint(number, value);
        }
    }

    pub(crate) fn nonzero_fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.fixed64(number, value);
        }
    }

    /// Minus zero is not the default and stays.
    pub(crate) fn nonzero_double(&mut self, number: u32, value: f64) {
        self.nonzero_fixed64(number, value.to_bits());
    }

    pub(crate) fn nonzero_fixed32(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.fixed32(number, value);
        }
    }

    pub(crate) fn nonempty_bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(number, value);
        }
    }
}

/// `int32` and enums are sign-extended to 64 bits.
pub(crate) fn sign_extended(value: i32) -> u64 {
    i64::from(value) as u64
}

pub(crate) fn zigzag(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31) as u32)
}

fn encode_varint(mut value: u64) -> ([u8; VARINT_BYTES_MAX], usize) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut count = 0;
    while value >= 0x80 {
        bytes[count] = value as u8 | 0x80;
        value >>= 7;
        count += 1;
    }
    bytes[count] = value as u8;
    (bytes, count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field numbers of `bytes`, or the error.
    fn numbers(bytes: &[u8]) -> Result<Vec<u32>, String> {
        let mut message = Message::new(bytes);
        let mut numbers = Vec::new();
        while let Some(field) = message.next().map_err(|error| error.to_string())? {
            numbers.push(field.number);
        }
        Ok(numbers)
    }

    #[test]
    fn varints_of_every_length_come_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX << shift] {
                let mut writer = Writer::default();
                writer.varint(1, value);
                let bytes = writer.into_bytes();
                assert_eq!(Message::new(&bytes).next().unwrap().unwrap().varint().unwrap(), value);
            }
        }
        for value in [0, -1, 1, i32::MIN, i32::MAX] {
            let mut writer = Writer::default();
            writer.varint(1, zigzag(value));
            let bytes = writer.into_bytes();
            assert_eq!(Message::new(&bytes).next().unwrap().unwrap().sint32().unwrap(), value);
        }
    }

    #[test]
    fn a_long_message_gets_a_long_length() {
        let mut writer = Writer::default();
        writer.message(1, |inner| inner.message(2, |inner| inner.bytes(3, &[7; 300])));
        let bytes = writer.into_bytes();
        let mut inner = Message::new(&bytes).next().unwrap().unwrap().message().unwrap();
        let mut inner = inner.next().unwrap().unwrap().message().unwrap();
        assert_eq!(inner.next().unwrap().unwrap().bytes().unwrap(), [7; 300]);
    }

    #[test]
    fn groups_are_skipped_with_what_they_hold() {
        // group 2 { varint 1, group 3 {} }, then field 4
        assert_eq!(numbers(&[0x13, 0x08, 0x05, 0x1b, 0x1c, 0x14, 0x20, 0x01]), Ok(vec![4]));
        assert_eq!(numbers(&[0x13, 0x1c]), Err("malformed protobuf at byte 1: a group does not end".into()));
        let deep = [0x13; 100];
        assert!(numbers(&deep).unwrap_err().contains("groups nest deeper"));
    }

    #[test]
    fn what_is_malformed_is_named_with_its_place() {
        let malformed = [
            (&[0x08][..], "malformed protobuf at byte 1: a varint is cut off"),
            (&[0x08, 0xff, 0xff], "malformed protobuf at byte 1: a varint is cut off"),
            (
                &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
                "malformed protobuf at byte 1: a varint exceeds 64 bits",
            ),
            (&[0x0a, 0x05, 0x00], "malformed protobuf at byte 2: 5 bytes announced, 1 there"),
            (&[0x09, 0x00], "malformed protobuf at byte 1: a number is cut off"),
            (&[0x0f], "malformed protobuf at byte 0: wire type 7 is not one"),
            (&[0x0c], "malformed protobuf at byte 0: wire type 4 is not one"),
            (&[0x00, 0x00], "malformed protobuf at byte 0: 0 is not a field number"),
        ];
        for (bytes, expected) in malformed {
            assert_eq!(numbers(bytes), Err(expected.to_owned()));
        }
        let field = Message::new(&[0x08, 0x01]).next().unwrap().unwrap();
        assert_eq!(
            field.bytes().unwrap_err().to_string(),
            "malformed protobuf at byte 0: field 1 should be length-delimited"
        );
    }
}
