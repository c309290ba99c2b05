//! OTLP/JSON: wire bytes rewritten as JSON and back, by a table of the messages' fields. Nothing here knows what a span is.
//!
//! The rules of OTLP/JSON where they differ from other JSON made of protobuf: ids are hex of either case, enums are integers
//! only, and names are lowerCamelCase only.

mod descriptor;
mod from_wire;
mod to_wire;

use serde_json::Value;

use crate::wire::{Message, Writer};
use crate::{DecodeError, Signal};
use descriptor::Field;
pub(crate) use descriptor::{ENTITY_REFS, METADATA};

/// An export request as wire bytes.
pub(crate) fn request_to_wire(signal: Signal, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let text = String::from_utf8_lossy(body);
    to_wire::message(&text, descriptor::request(signal))
}

/// An export request as JSON. `wire` is what `encode` wrote.
pub(crate) fn request_from_wire(signal: Signal, wire: &[u8]) -> Value {
    from_wire::message(Message::new(wire), descriptor::request(signal))
        .expect("the encoder writes well-formed messages")
}

/// The JSON list of one repeated field of `message`, `None` when it has no items.
pub(crate) fn list_from_wire(mut message: Message<'_>, list: &'static Field) -> Result<Option<String>, DecodeError> {
    let mut items = Vec::new();
    while let Some(field) = message.next()? {
        if field.number == list.number {
            items.push(from_wire::field(field, list)?);
        }
    }
    Ok((!items.is_empty()).then(|| Value::Array(items).to_string()))
}

/// The other way round. Text that someone else put there and that is no such list is left out.
pub(crate) fn list_to_wire(text: &str, list: &'static Field, out: &mut Writer) {
    if let Ok(bytes) = to_wire::list(text, list) {
        out.raw(&bytes);
    }
}
