//! `LogRecord` to a row of `logs`. No log record is wrong: an id that is none means that the record belongs to no span.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, UInt32Builder};

use super::origin::{Origin, OriginColumns};
use super::{Records, Request, valid_id};
use crate::attributes::Attributes;
use crate::columns::{Assembly, Labels, OptionalText, SpanIds, Text, Times, TraceIds};
use crate::value::{self, letter};
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

const ATTRIBUTES: u32 = 6;

#[derive(Default)]
pub(super) struct Logs {
    time: Times,
    event_time: Times,
    observed_time: Times,
    trace_id: TraceIds,
    span_id: SpanIds,
    severity_number: Int32Builder,
    severity_text: Labels,
    body: Text,
    body_type: OptionalText,
    event_name: Labels,
    flags: UInt32Builder,
    attributes: Attributes,
    dropped_attributes: UInt32Builder,
    origin: OriginColumns,
}

impl Records for Logs {
    const NAME: &str = "log record";

    fn push(&mut self, record: Message<'_>, request: &mut Request) -> Result<(), DecodeError> {
        if !request.admit(0, 0) {
            return Ok(());
        }
        let (mut time, mut observed_time, mut body) = (0, 0, None);
        let (mut severity_number, mut severity_text, mut event_name) = (0, &[][..], &[][..]);
        let (mut trace_id, mut span_id, mut flags, mut dropped_attributes) = (&[][..], &[][..], 0, 0);
        let mut fields = record;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => time = field.fixed64()?,
                2 => severity_number = field.int32()?,
                3 => severity_text = field.bytes()?,
                5 => body = Some(field.message()?),
                7 => dropped_attributes = field.uint32()?,
                8 => flags = field.fixed32()?,
                9 => trace_id = field.bytes()?,
                10 => span_id = field.bytes()?,
                11 => observed_time = field.fixed64()?,
                12 => event_name = field.bytes()?,
                _ => {}
            }
        }
        self.time.push(if time == 0 { observed_time } else { time });
        self.event_time.push(time);
        self.observed_time.push(observed_time);
        self.trace_id.push(valid_id(trace_id));
        self.span_id.push(valid_id(span_id));
        self.severity_number.append_value(severity_number);
        self.severity_text.push(severity_text);
        self.push_body(body)?;
        self.event_name.push(event_name);
        self.flags.append_value(flags);
        self.attributes.push(record, ATTRIBUTES)?;
        self.dropped_attributes.append_value(dropped_attributes);
        Ok(())
    }

    fn end_scope(&mut self, origin: &Origin) {
        self.origin.fill(self.time.len(), origin);
    }

    fn finish(mut self) -> Vec<Batch> {
        if self.time.len() == 0 {
            return Vec::new();
        }
        let mut assembly = Assembly::new(Table::Logs);
        let (attributes, attribute_types) = self.attributes.finish();
        let columns: [(&str, ArrayRef); 14] = [
            ("time", self.time.finish()),
            ("event_time", self.event_time.finish()),
            ("observed_time", self.observed_time.finish()),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("severity_number", Arc::new(self.severity_number.finish())),
            ("severity_text", Arc::new(self.severity_text.finish())),
            ("body", Arc::new(self.body.finish())),
            ("body_type", Arc::new(self.body_type.finish())),
            ("event_name", Arc::new(self.event_name.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("attributes", attributes),
            ("attribute_types", attribute_types),
            ("dropped_attributes_count", Arc::new(self.dropped_attributes.finish())),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        self.origin.finish(&mut assembly);
        vec![assembly.finish()]
    }
}

impl Logs {
    fn push_body(&mut self, body: Option<Message<'_>>) -> Result<(), DecodeError> {
        let letter = match body {
            Some(body) => value::write_text(body, self.body.open())?,
            None => letter::ABSENT,
        };
        self.body.close();
        self.body_type.push((letter != letter::STRING).then_some(&[letter]));
        Ok(())
    }
}
