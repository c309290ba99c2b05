//! JSON to wire bytes, in one pass over the text.
//!
//! While it is read the path to the current value is kept, and left standing when an error ends the reading: that is the
//! path the error names.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::descriptor::{Descriptor, Field, Kind};
use crate::DecodeError;
use crate::value::{NESTING_MAX, parse_base64, parse_double};
use crate::wire::{Open, Writer, sign_extended, zigzag};

/// An id that is not hex makes its record wrong, not the request: these bytes have a length that no id has.
const NOT_AN_ID: &[u8] = &[0];
/// The largest integer below which every integer has its own double.
const EXACT_DOUBLE_MAX: f64 = (1u64 << 53) as f64;

/// The object `text` as a message.
pub(super) fn message(text: &str, descriptor: &'static Descriptor) -> Result<Vec<u8>, DecodeError> {
    let mut state = State::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = MessageSeed { state: &mut state, descriptor, place: Place::Root }.deserialize(&mut json);
    state.finish(read.and_then(|()| json.end()))
}

/// The list `text` as the items of the repeated field.
pub(super) fn list(text: &str, field: &'static Field) -> Result<Vec<u8>, DecodeError> {
    let mut state = State::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = FieldSeed { state: &mut state, field }.deserialize(&mut json);
    state.finish(read.and_then(|()| json.end()))
}

#[derive(Default)]
struct State {
    out: Writer,
    path: Vec<Step>,
    /// Attribute values around the current one.
    depth: usize,
}

enum Step {
    Field(&'static str),
    Item(usize),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.path.iter().try_for_each(|step| match step {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        })
    }
}

impl State {
    fn finish(self, read: Result<(), serde_json::Error>) -> Result<Vec<u8>, DecodeError> {
        match read {
            Ok(()) => Ok(self.out.into_bytes()),
            Err(error) => Err(DecodeError::Json { path: self.to_string(), what: error.to_string() }),
        }
    }
}

/// Where a message stands: the whole text, a field, or an item of a repeated field.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Field(u32),
    Item(u32),
}

/// Reads an object. `null` is an absent field, and an empty message where an item has to be.
struct MessageSeed<'s> {
    state: &'s mut State,
    descriptor: &'static Descriptor,
    place: Place,
}

impl MessageSeed<'_> {
    fn open(&mut self) -> Option<Open> {
        match self.place {
            Place::Root => None,
            Place::Field(number) | Place::Item(number) => Some(self.state.out.open(number)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.descriptor.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.place {
            Place::Root => return Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
            Place::Field(_) => {}
            Place::Item(number) => self.state.out.bytes(number, &[]),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let nests = usize::from(self.descriptor.nests());
        self.state.depth += nests;
        if self.state.depth > NESTING_MAX {
            return Err(A::Error::custom(format_args!("values nest deeper than {NESTING_MAX}")));
        }
        let open = self.open();
        let MessageSeed { state, descriptor, .. } = self;
        while let Some(known) = members.next_key_seed(Name(descriptor))? {
            let Some(field) = known else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            state.path.push(Step::Field(field.name));
            members.next_value_seed(FieldSeed { state, field })?;
            state.path.pop();
        }
        if let Some(open) = open {
            state.out.close(open);
        }
        state.depth -= nests;
        Ok(())
    }
}

/// The name of a member, as the field that has it.
struct Name(&'static Descriptor);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.named(name))
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(std::str::from_utf8(name).ok().and_then(|name| self.0.named(name)))
    }
}

/// Reads the value of a field.
struct FieldSeed<'s> {
    state: &'s mut State,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let FieldSeed { state, field } = self;
        match (field.repeated, field.kind) {
            (true, _) => json.deserialize_any(List { state, field }),
            (false, Kind::Message(descriptor)) => {
                MessageSeed { state, descriptor, place: Place::Field(field.number) }.deserialize(json)
            }
            (false, kind) => Scalar { out: &mut state.out, kind, tag: Some(field.number) }.deserialize(json),
        }
    }
}

/// Reads the items of a repeated field; numbers are packed.
struct List<'s> {
    state: &'s mut State,
    field: &'static Field,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let List { state, field } = self;
        let packed = match field.kind {
            Kind::Message(_) | Kind::String => None,
            _ => Some(state.out.open(field.number)),
        };
        for index in 0.. {
            state.path.push(Step::Item(index));
            let item = match field.kind {
                Kind::Message(descriptor) => {
                    items.next_element_seed(MessageSeed { state, descriptor, place: Place::Item(field.number) })?
                }
                Kind::String => items.next_element_seed(Scalar {
                    out: &mut state.out,
                    kind: field.kind,
                    tag: Some(field.number),
                })?,
                kind => items.next_element_seed(Scalar { out: &mut state.out, kind, tag: None })?,
            };
            state.path.pop();
            if item.is_none() {
                break;
            }
        }
        if let Some(packed) = packed {
            state.out.close(packed);
        }
        Ok(())
    }
}

/// Reads anything but messages and lists. `null` is absent, so it is refused as an item of a packed list.
struct Scalar<'w> {
    out: &'w mut Writer,
    kind: Kind,
    /// The field's number, none inside a packed list.
    tag: Option<u32>,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.kind {
            // As bytes: an escaped half of a surrogate pair is a bad string, not bad JSON.
            Kind::String => json.deserialize_option(self),
            _ => json.deserialize_any(self),
        }
    }
}

impl Scalar<'_> {
    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        fn fits<T: TryFrom<i128>, E: Error>(value: i128) -> Result<T, E> {
            T::try_from(value).map_err(|_| E::custom(format_args!("{value} is out of range")))
        }
        match self.kind {
            Kind::Double => self.fixed64((value as f64).to_bits()),
            Kind::Uint32 => self.varint(u64::from(fits::<u32, E>(value)?)),
            Kind::Sint32 => self.varint(zigzag(fits(value)?)),
            Kind::Enum => self.varint(sign_extended(fits(value)?)),
            Kind::Int64 => self.varint(fits::<i64, E>(value)? as u64),
            Kind::Uint64 => self.varint(fits(value)?),
            Kind::Fixed64 => self.fixed64(fits(value)?),
            Kind::Sfixed64 => self.fixed64(fits::<i64, E>(value)? as u64),
            Kind::Fixed32 => {
                let value: u32 = fits(value)?;
                match self.tag {
                    Some(number) => self.out.fixed32(number, value),
                    None => self.out.raw(&value.to_le_bytes()),
                }
            }
            Kind::String | Kind::Bytes | Kind::Id | Kind::Bool | Kind::Message(_) => {
                return Err(E::custom(format_args!("the number {value}, expected {}", self.expected())));
            }
        }
        Ok(())
    }

    fn varint(self, value: u64) {
        match self.tag {
            Some(number) => self.out.varint(number, value),
            None => self.out.raw_varint(value),
        }
    }

    fn fixed64(self, value: u64) {
        match self.tag {
            Some(number) => self.out.fixed64(number, value),
            None => self.out.raw(&value.to_le_bytes()),
        }
    }

    /// Strings, bytes and ids are never packed.
    fn bytes(self, value: &[u8]) {
        if let Some(number) = self.tag {
            self.out.bytes(number, value);
        }
    }

    fn expected(&self) -> &'static str {
        match self.kind {
            Kind::String => "a string",
            Kind::Bytes => "base64",
            Kind::Id => "a hex string",
            Kind::Bool => "true or false",
            Kind::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
            Kind::Enum => "the integer of an enum",
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 => "an integer",
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 => "an integer or a string of one",
            Kind::Message(_) => "an object",
        }
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.tag {
            Some(_) => Ok(()),
            None => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
        }
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_bytes(self)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<(), E> {
        self.bytes(String::from_utf8_lossy(value).as_bytes());
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool => self.varint(u64::from(value)),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => self.fixed64(value.to_bits()),
            _ if value.fract() == 0.0 && value.abs() <= EXACT_DOUBLE_MAX => return self.integer(value as i128),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let wrong = E::invalid_value(serde::de::Unexpected::Str(text), &self);
        match self.kind {
            Kind::String => self.bytes(text.as_bytes()),
            Kind::Bytes => self.bytes(&parse_base64(text).ok_or(wrong)?),
            Kind::Id => self.bytes(&hex::decode(text).unwrap_or(NOT_AN_ID.to_vec())),
            Kind::Double => self.fixed64(parse_double(text).ok_or(wrong)?.to_bits()),
            Kind::Bool | Kind::Enum | Kind::Message(_) => return Err(wrong),
            _ => return self.integer(text.parse().map_err(|_| wrong)?),
        }
        Ok(())
    }
}
