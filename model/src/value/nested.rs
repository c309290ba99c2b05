//! Arrays and maps as JSON that people can read and that gives back every type.
//!
//! | value | JSON |
//! |---|---|
//! | string, bool, empty value | `"a"`, `true`, `null` |
//! | int | a number without point or exponent: `5` |
//! | double | a number with one: `5.0`, `1e300`; else `{"doubleValue":"NaN"}` |
//! | bytes | `{"bytesValue":"AQI="}` |
//! | array | `[1,"a"]` |
//! | map | `{"k":1}` |
//! | an array or map with items at the depth of [`NESTING_MAX`] | the bytes of its `AnyValue` |
//! | a map that no JSON object can be | `{"kvlistValue":[["k",1],["k",2],["no value"]]}` |
//!
//! The last form is for a map with a key given twice, with an entry that has no value, or whose first key is one of the three
//! names above. So an object is spelled out exactly when its first key is one of them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Any, NESTING_MAX, parse_base64, parse_double, read_key_value, special_double, write_double, write_int};
use crate::DecodeError;
use crate::wire::{Message, Writer};

const BYTES: &str = "bytesValue";
const DOUBLE: &str = "doubleValue";
const KVLIST: &str = "kvlistValue";

/// Appends `any`, which was read from `message`.
pub(super) fn write(any: Any<'_>, message: Message<'_>, text: &mut Vec<u8>) -> Result<(), DecodeError> {
    write_value(any, message, 1, text)
}

fn write_value(any: Any<'_>, message: Message<'_>, depth: usize, text: &mut Vec<u8>) -> Result<(), DecodeError> {
    match any {
        deeper if depth == NESTING_MAX && deeper.has_items() => write_bytes(message.bytes(), text),
        Any::Empty => text.extend_from_slice(b"null"),
        Any::String(bytes) => write_string(&String::from_utf8_lossy(bytes), text),
        Any::Bool(value) => text.extend_from_slice(if value { b"true" } else { b"false" }),
        Any::Int(value) => write_int(value, text),
        Any::Double(value) => match special_double(value) {
            Some(name) => tagged(DOUBLE, text, |text| write_string(name, text)),
            None => write_double(value, text),
        },
        Any::Bytes(bytes) => write_bytes(bytes, text),
        Any::Array(mut array) => {
            let mut list = Separated::open(b'[', text);
            while let Some(field) = array.next()? {
                if field.number == 1 {
                    let message = field.message()?;
                    list.separate(text);
                    write_value(Any::read(message)?, message, depth + 1, text)?;
                }
            }
            text.push(b']');
        }
        Any::Map(map) => write_map(map, depth, text)?,
    }
    Ok(())
}

fn write_map(mut map: Message<'_>, depth: usize, text: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut entries: Vec<(Cow<'_, str>, Option<Message<'_>>)> = Vec::new();
    while let Some(field) = map.next()? {
        if field.number == 1 {
            let (key, value) = read_key_value(field.message()?)?;
            entries.push((String::from_utf8_lossy(key), value));
        }
    }
    if is_object(&entries) {
        let mut object = Separated::open(b'{', text);
        for (key, value) in entries {
            object.separate(text);
            write_string(&key, text);
            text.push(b':');
            write_optional(value, depth, text)?;
        }
        text.push(b'}');
        return Ok(());
    }
    let mut failed = None;
    tagged(KVLIST, text, |text| {
        let mut list = Separated::open(b'[', text);
        for (key, value) in entries {
            list.separate(text);
            text.push(b'[');
            write_string(&key, text);
            if value.is_some() {
                text.push(b',');
                failed = failed.take().or(write_optional(value, depth, text).err());
            }
            text.push(b']');
        }
        text.push(b']');
    });
    failed.map_or(Ok(()), Err)
}

fn write_optional(value: Option<Message<'_>>, depth: usize, text: &mut Vec<u8>) -> Result<(), DecodeError> {
    let Some(message) = value else { return Ok(()) };
    write_value(Any::read(message)?, message, depth + 1, text)
}

fn is_object(entries: &[(Cow<'_, str>, Option<Message<'_>>)]) -> bool {
    let mut keys = HashSet::with_capacity(entries.len());
    let starts_as_tag = entries.first().is_some_and(|(key, _)| [BYTES, DOUBLE, KVLIST].contains(&key.as_ref()));
    !starts_as_tag && entries.iter().all(|(key, value)| value.is_some() && keys.insert(key))
}

fn tagged(tag: &str, text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    text.push(b'{');
    write_string(tag, text);
    text.push(b':');
    write(text);
    text.push(b'}');
}

fn write_bytes(bytes: &[u8], text: &mut Vec<u8>) {
    tagged(BYTES, text, |text| write_string(&STANDARD.encode(bytes), text));
}

fn write_string(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, string).expect("a Vec takes every byte and a string is always JSON");
}

/// Commas between, none before the first.
struct Separated {
    first: bool,
}

impl Separated {
    fn open(bracket: u8, text: &mut Vec<u8>) -> Separated {
        text.push(bracket);
        Separated { first: true }
    }

    fn separate(&mut self, text: &mut Vec<u8>) {
        if !std::mem::take(&mut self.first) {
            text.push(b',');
        }
    }
}

/// Writes the fields of the `AnyValue` that `text` spells.
pub(super) fn read(text: &str, out: &mut Writer) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    Value { out, depth: 1 }.deserialize(&mut json)?;
    json.end()
}

/// Reads any JSON value into the fields of one `AnyValue`.
struct Value<'w> {
    out: &'w mut Writer,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.depth > NESTING_MAX {
            return Err(D::Error::custom("values nest too deep"));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.out.bytes(1, value.as_bytes());
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.out.varint(2, u64::from(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.out.varint(3, value as u64);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(value).map_err(E::custom)?)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.out.double(4, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let array = self.out.open(5);
        loop {
            let before = self.out.len();
            let item = self.out.open(1);
            if items.next_element_seed(Value { out: self.out, depth: self.depth + 1 })?.is_none() {
                self.out.truncate(before);
                break;
            }
            self.out.close(item);
        }
        self.out.close(array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut key: Option<String> = members.next_key()?;
        match key.as_deref() {
            Some(BYTES) => {
                let bytes = parse_base64(&members.next_value::<Cow<'_, str>>()?);
                self.out.bytes(7, &bytes.ok_or_else(|| A::Error::custom("not base64"))?);
            }
            Some(DOUBLE) => {
                let double = parse_double(&members.next_value::<Cow<'_, str>>()?);
                self.out.double(4, double.ok_or_else(|| A::Error::custom("not a double"))?);
            }
            Some(KVLIST) => {
                let map = self.out.open(6);
                members.next_value_seed(Pairs { out: self.out, depth: self.depth })?;
                self.out.close(map);
            }
            _ => {
                let map = self.out.open(6);
                while let Some(name) = key {
                    let entry = self.out.open(1);
                    self.out.bytes(1, name.as_bytes());
                    let value = self.out.open(2);
                    members.next_value_seed(Value { out: self.out, depth: self.depth + 1 })?;
                    self.out.close(value);
                    self.out.close(entry);
                    key = members.next_key()?;
                }
                self.out.close(map);
                return Ok(());
            }
        }
        match members.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("a spelled-out value has one member")),
        }
    }
}

/// `[["key", value], ["key without value"]]` into the entries of a `KeyValueList`.
struct Pairs<'w> {
    out: &'w mut Writer,
    depth: usize,
}

/// One of its entries.
struct Pair<'w>(Pairs<'w>);

impl<'de> DeserializeSeed<'de> for Pairs<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        while pairs.next_element_seed(Pair(Pairs { out: self.out, depth: self.depth }))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key and its value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(), A::Error> {
        let Pairs { out, depth } = self.0;
        let entry = out.open(1);
        let key: Cow<'_, str> = pair.next_element()?.ok_or_else(|| A::Error::custom("a pair has a key"))?;
        out.bytes(1, key.as_bytes());
        let before = out.len();
        let value = out.open(2);
        match pair.next_element_seed(Value { out, depth: depth + 1 })? {
            Some(()) => out.close(value),
            None => out.truncate(before),
        }
        out.close(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{letter, write_text, write_wire};
    use super::*;

    /// `json` to an `AnyValue` and back.
    fn check(json: &str) {
        let mut wire = Writer::default();
        write_wire(if json.starts_with('[') { letter::ARRAY } else { letter::MAP }, json, &mut wire);
        let (bytes, mut text) = (wire.into_bytes(), Vec::new());
        let letter = write_text(Message::new(&bytes), &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), json);
        assert_ne!(letter, letter::STRING);
    }

    #[test]
    fn every_type_keeps_its_spelling() {
        check(r#"[]"#);
        check(r#"{}"#);
        check(
            r#"["a\"\u0001é",true,5,-9223372036854775808,5.0,-0.0,1e300,null,{"bytesValue":"AQI="},[[]],{"k":{"l":1}}]"#,
        );
        check(r#"[{"doubleValue":"NaN"},{"doubleValue":"-Infinity"}]"#);
    }

    #[test]
    fn maps_that_no_object_can_be_are_spelled_out() {
        check(r#"{"kvlistValue":[["k",1],["k",2.0]]}"#);
        check(r#"{"kvlistValue":[["k"],["l",null]]}"#);
        check(r#"{"kvlistValue":[["bytesValue","AQI="]]}"#);
        check(r#"{"kvlistValue":[["kvlistValue",{"kvlistValue":[[""]]}]]}"#);
        check(r#"{"k":1,"bytesValue":"AQI="}"#);
    }

    #[test]
    fn text_that_spells_no_value_stays_a_string() {
        for text in ["[1", r#"{"bytesValue":"AQI=","k":1}"#, r#"{"doubleValue":"x"}"#, &"[".repeat(500)] {
            let mut wire = Writer::default();
            write_wire(letter::ARRAY, text, &mut wire);
            let bytes = wire.into_bytes();
            assert!(matches!(Any::read(Message::new(&bytes)), Ok(Any::String(string)) if string == text.as_bytes()));
        }
    }

    #[test]
    fn the_deepest_value_goes_both_ways_and_what_is_deeper_is_kept_as_bytes() {
        check(&format!("{}{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX)));
        let spelled_out = r#"{"kvlistValue":[["bytesValue","#;
        check(&format!("{}null{}", spelled_out.repeat(NESTING_MAX - 1), "]]}".repeat(NESTING_MAX - 1)));

        let mut wire = Writer::default();
        fn nest(out: &mut Writer, depth: usize) {
            if depth > 0 {
                out.message(5, |array| array.message(1, |item| nest(item, depth - 1)));
            }
        }
        nest(&mut wire, 100_000.min(NESTING_MAX * 4));
        let bytes = wire.into_bytes();
        let mut text = Vec::new();
        write_text(Message::new(&bytes), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (above, below) = text.split_once(r#"{"bytesValue":""#).unwrap();
        assert_eq!(above, "[".repeat(NESTING_MAX - 1));
        let kept = parse_base64(below.split_once('"').unwrap().0).unwrap();
        assert!(bytes.ends_with(&kept) && matches!(Any::read(Message::new(&kept)), Ok(Any::Array(_))));
        check(&text);
    }
}
