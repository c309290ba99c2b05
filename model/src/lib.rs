//! What telemetry is: Arrow schemas, ids, and OTLP to Arrow and back. Pure: no I/O, no tokio, no clock.
//!
//! A request comes in as protobuf ([`decode_protobuf`]) or OTLP/JSON ([`decode_json`]) and leaves as one [`Batch`] a table.
//! Batches leave as OTLP again through [`encode_protobuf`] and [`encode_json`]. Between the two nothing is lost: the result is
//! the same multiset of (resource, scope, record), except for what has no record to carry it:
//! - a metric without data points, and a resource or scope without records, vanish;
//! - an absent message and one with nothing in it (`Resource`, `InstrumentationScope`, `Status`) are the same;
//! - of an attribute key given twice the last entry stays, in its place;
//! - ids that mean "none" (all zero, or of a wrong length where the field is optional) come back absent;
//! - fields this version of OTLP does not know, and those only profiles use (`*_strindex`), are dropped.

mod attributes;
mod batch;
mod columns;
mod decode;
mod encode;
mod enumeration;
pub mod ids;
mod json;
pub mod schema;
mod value;
mod wire;

pub use attributes::{Attributes, Entries, Entry};
pub use batch::{Batch, SchemaMismatch, concat, concat_column};
pub use decode::{
    BODY_BYTES_MAX, Converted, ConvertedTogether, DecodeError, EXPANSION_BYTES_MAX, Rejected, decode_json,
    decode_protobuf, decode_protobuf_together,
};
pub use encode::{encode_json, encode_protobuf};
pub use schema::{Column, Signal, Table};
pub use value::{NESTING_MAX, Value, letter};
