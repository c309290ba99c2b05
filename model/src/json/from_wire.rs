//! Wire bytes to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::descriptor::{Descriptor, Field, Kind};
use crate::DecodeError;
use crate::ids;
use crate::value::{NESTING_MAX, special_double};
use crate::wire::{self, Message};

/// The fields of `message` that `descriptor` knows.
pub(super) fn message(message: Message<'_>, descriptor: &'static Descriptor) -> Result<Value, DecodeError> {
    nested(message, descriptor, 0)
}

/// The value of one field; of a repeated one, one item.
pub(super) fn field(field: wire::Field<'_>, descriptor: &'static Field) -> Result<Value, DecodeError> {
    single(field, descriptor.kind, 0)
}

/// `depth` counts the attribute values around this message. Where it may grow no more, values are left as their bytes.
fn nested(mut message: Message<'_>, descriptor: &'static Descriptor, mut depth: usize) -> Result<Value, DecodeError> {
    if descriptor.nests() {
        depth += 1;
        if depth == NESTING_MAX && has_items(message, descriptor)? {
            return Ok(json!({ "bytesValue": STANDARD.encode(message.bytes()) }));
        }
    }
    let mut object = Map::new();
    while let Some(field) = message.next()? {
        let Some(known) = descriptor.numbered(field.number) else { continue };
        if !known.repeated {
            object.insert(known.name.to_owned(), single(field, known.kind, depth)?);
            continue;
        }
        let list = object.entry(known.name).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(items) = list else { unreachable!("a repeated field starts as a list") };
        match known.kind {
            Kind::Fixed64 => field.each_fixed64(|value| items.push(value.to_string().into()))?,
            Kind::Uint64 => field.each_varint(|value| items.push(value.to_string().into()))?,
            Kind::Double => field.each_fixed64(|bits| items.push(double(f64::from_bits(bits))))?,
            kind => items.push(single(field, kind, depth)?),
        }
    }
    Ok(Value::Object(object))
}

/// Whether any field of `message` would be walked into, also one that a later field of the same `oneof` replaces.
fn has_items(mut message: Message<'_>, descriptor: &'static Descriptor) -> Result<bool, DecodeError> {
    while let Some(field) = message.next()? {
        let known = descriptor.numbered(field.number);
        if known.is_some_and(|known| matches!(known.kind, Kind::Message(_))) && !field.message()?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn single(field: wire::Field<'_>, kind: Kind, depth: usize) -> Result<Value, DecodeError> {
    Ok(match kind {
        Kind::String => String::from_utf8_lossy(field.bytes()?).into(),
        Kind::Bytes => STANDARD.encode(field.bytes()?).into(),
        Kind::Id => ids::format(field.bytes()?).into(),
        Kind::Bool => (field.varint()? != 0).into(),
        Kind::Double => double(field.double()?),
        Kind::Uint32 => field.uint32()?.into(),
        Kind::Sint32 => field.sint32()?.into(),
        Kind::Enum => field.int32()?.into(),
        Kind::Fixed32 => field.fixed32()?.into(),
        Kind::Int64 => (field.varint()? as i64).to_string().into(),
        Kind::Uint64 => field.varint()?.to_string().into(),
        Kind::Fixed64 => field.fixed64()?.to_string().into(),
        Kind::Sfixed64 => (field.fixed64()? as i64).to_string().into(),
        Kind::Message(descriptor) => nested(field.message()?, descriptor, depth)?,
    })
}

fn double(value: f64) -> Value {
    special_double(value).map_or_else(|| Value::from(value), Value::from)
}
