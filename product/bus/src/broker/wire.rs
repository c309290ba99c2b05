//! Kafka's elementary types: numbers, most significant byte first; strings, bytes and lists with their length in front.
//!
//! Only the plain forms. The compact ones of later versions say the same with fewer bytes, and no version that has them is
//! spoken here: see `api`. A length is believed when as many bytes are there, so that a request is never larger in memory
//! than a small multiple of what was sent.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut, TryGetError};

/// Entries of all lists of one request. Ten thousand partitions are more than this machine has.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends too early")]
    TooShort,
    #[error("it goes on after its end")]
    TooLong,
    #[error("a string is not UTF-8")]
    NotText,
    #[error("a length makes no sense")]
    Length,
    #[error("its lists have more than {ENTRIES_MAX} entries")]
    TooMany,
}

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Self::TooShort
    }
}

/// What is left to read of a request.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
    entries: usize,
}

impl Reader {
    pub(super) fn new(request: Bytes) -> Self {
        Self { rest: request, entries: 0 }
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.rest.try_get_i8()? != 0)
    }

    pub(super) fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(self.rest.try_get_i8()?)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(self.rest.try_get_i16()?)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.rest.try_get_i32()?)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(self.rest.try_get_i64()?)
    }

    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        self.maybe_string()?.ok_or(Malformed::Length)
    }

    pub(super) fn maybe_string(&mut self) -> Result<Option<String>, Malformed> {
        let length = self.i16()?.into();
        let Some(text) = self.take(length)? else { return Ok(None) };
        let text = std::str::from_utf8(&text).map_err(|_| Malformed::NotText)?;
        Ok(Some(text.to_owned()))
    }

    /// A copy: what is kept of a request does not keep the rest of it.
    pub(super) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let bytes = self.maybe_bytes()?.ok_or(Malformed::Length)?;
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// A part of the request itself.
    pub(super) fn maybe_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        let length = self.i32()?;
        self.take(length)
    }

    pub(super) fn list<T>(
        &mut self,
        entry: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.maybe_list(entry)?.ok_or(Malformed::Length)
    }

    pub(super) fn maybe_list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        let length = match self.rest.try_get_i32()? {
            -1 => return Ok(None),
            length => usize::try_from(length).map_err(|_| Malformed::Length)?,
        };
        self.entries = self.entries.saturating_add(length);
        if self.entries > ENTRIES_MAX {
            return Err(Malformed::TooMany);
        }
        (0..length).map(|_| entry(self)).collect::<Result<_, _>>().map(Some)
    }

    /// All of a request is understood, or none.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TooLong) }
    }

    fn take(&mut self, length: i32) -> Result<Option<Bytes>, Malformed> {
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(self.rest.split_to(length))),
            Ok(_) => Err(Malformed::TooShort),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Malformed::Length),
        }
    }
}

/// An answer in the making: its length, to whom it belongs, and what follows.
#[derive(Debug)]
pub(super) struct Writer(BytesMut);

impl Writer {
    pub(super) fn answer_to(correlation_id: i32) -> Self {
        let mut writer = Self(BytesMut::with_capacity(256));
        writer.i32(0); // the length, once it is known
        writer.i32(correlation_id);
        writer
    }

    pub(super) fn frame(mut self) -> Bytes {
        let length = self.0.len() - size_of::<i32>();
        self.put_length(0, length);
        self.0.freeze()
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.0.put_i8(value.into());
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.0.put_i8(value);
    }

    pub(super) fn i16(&mut self, value: impl Into<i16>) {
        self.0.put_i16(value.into());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    /// Longer than a length can say: cut. None of ours is, and what is told back has come in the same form.
    pub(super) fn string(&mut self, text: &str) {
        let length = text.len().min(i16::MAX as usize);
        self.0.put_i16(length as i16);
        self.0.put_slice(&text.as_bytes()[..length]);
    }

    pub(super) fn null_string(&mut self) {
        self.0.put_i16(-1);
    }

    pub(super) fn null_list(&mut self) {
        self.0.put_i32(-1);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.join(std::iter::once(bytes));
    }

    /// Parts, one after the other, as one.
    pub(super) fn join<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) {
        let place = self.0.len();
        self.i32(0);
        parts.for_each(|part| self.0.put_slice(part));
        let length = self.0.len() - place - size_of::<i32>();
        self.put_length(place, length);
    }

    pub(super) fn list<T>(&mut self, entries: impl IntoIterator<Item = T>, mut entry: impl FnMut(&mut Self, T)) {
        let place = self.0.len();
        self.i32(0);
        let mut length = 0;
        for value in entries {
            entry(self, value);
            length += 1;
        }
        self.put_length(place, length);
    }

    /// Answers are bounded far below what a length can say.
    fn put_length(&mut self, place: usize, length: usize) {
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.0[place..place + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::answer_to(7);
        writer.string("né");
        writer.null_string();
        writer.bytes(b"ab");
        writer.list([1, 2], Writer::i32);
        writer.null_list();
        writer.boolean(true);
        let mut reader = Reader::new(writer.frame());
        assert_eq!((reader.i32(), reader.i32()), (Ok(34), Ok(7)));
        assert_eq!((reader.string(), reader.maybe_string()), (Ok("né".to_owned()), Ok(None)));
        assert_eq!(reader.bytes(), Ok(Bytes::from_static(b"ab")));
        assert_eq!((reader.list(Reader::i32), reader.maybe_list(Reader::i32)), (Ok(vec![1, 2]), Ok(None)));
        assert_eq!((reader.end(), reader.boolean()), (Err(Malformed::TooLong), Ok(true)));
        assert_eq!((reader.end(), reader.i8()), (Ok(()), Err(Malformed::TooShort)));
    }

    #[test]
    fn a_length_is_believed_when_the_bytes_are_there() {
        assert_eq!(reader(b"\x7f\xffabc").string(), Err(Malformed::TooShort));
        assert_eq!(reader(b"\x7f\xff\xff\xffabc").bytes(), Err(Malformed::TooShort));
        assert_eq!(reader(b"\xff\xfe").string(), Err(Malformed::Length));
        assert_eq!(reader(b"\xff\xff").string(), Err(Malformed::Length));
        assert_eq!(reader(b"\0\x01\xff").string(), Err(Malformed::NotText));
        assert_eq!(reader(b"\x80\0\0\0").list(Reader::i8), Err(Malformed::Length));
        assert_eq!(reader(b"\x7f\xff\xff\xff").list(Reader::i8), Err(Malformed::TooMany));
        assert_eq!(reader(b"\0\0\0\x02\x01").list(Reader::i8), Err(Malformed::TooShort));
    }

    #[test]
    fn lists_in_lists_count_together() {
        let inner = [0, 0, 0, 0];
        let mut bytes = 9_000_i32.to_be_bytes().to_vec();
        bytes.extend(inner.repeat(9_000));
        assert_eq!(reader(&bytes).list(|reader| reader.list(Reader::i8)).map(|lists| lists.len()), Ok(9_000));
        bytes.truncate(4);
        bytes.extend(2_000_i32.to_be_bytes());
        assert_eq!(reader(&bytes).list(|reader| reader.list(Reader::i8)), Err(Malformed::TooMany));
    }
}
