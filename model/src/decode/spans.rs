//! `Span` to a row of `spans`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, UInt32Builder};

use super::origin::{Origin, OriginColumns};
use super::{Records, Request, valid_id};
use crate::attributes::Attributes;
use crate::columns::{Assembly, Labels, Lists, SpanIds, Text, Times, TraceIds};
use crate::enumeration::{SPAN_KINDS, STATUS_CODES, spell};
use crate::schema::{event_fields, link_fields};
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

const ATTRIBUTES: u32 = 9;
const EVENTS: u32 = 11;
const LINKS: u32 = 13;

#[derive(Default)]
pub(super) struct Spans {
    time: Times,
    end_time: Times,
    duration: Int64Builder,
    trace_id: TraceIds,
    span_id: SpanIds,
    parent_span_id: SpanIds,
    name: Labels,
    kind: Labels,
    status: Labels,
    status_message: Text,
    trace_state: Text,
    flags: UInt32Builder,
    attributes: Attributes,
    dropped_attributes: UInt32Builder,
    events: Events,
    dropped_events: UInt32Builder,
    links: Links,
    dropped_links: UInt32Builder,
    origin: OriginColumns,
}

/// A span's own fields, read before anything is appended: a rejected span leaves no trace in the columns.
#[derive(Default)]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: &'a [u8],
    name: &'a [u8],
    kind: i32,
    start: u64,
    end: u64,
    flags: u32,
    status_code: i32,
    status_message: &'a [u8],
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
    events: usize,
    links: usize,
    bad_link: bool,
}

impl<'a> Span<'a> {
    fn read(mut message: Message<'a>) -> Result<Span<'a>, DecodeError> {
        let mut span = Span::default();
        while let Some(field) = message.next()? {
            match field.number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => span.trace_state = field.bytes()?,
                4 => span.parent_span_id = field.bytes()?,
                5 => span.name = field.bytes()?,
                6 => span.kind = field.int32()?,
                7 => span.start = field.fixed64()?,
                8 => span.end = field.fixed64()?,
                10 => span.dropped_attributes = field.uint32()?,
                EVENTS => span.events += 1,
                12 => span.dropped_events = field.uint32()?,
                LINKS => {
                    span.links += 1;
                    span.bad_link |= Link::read(field.message()?)?.is_none();
                }
                14 => span.dropped_links = field.uint32()?,
                15 => span.read_status(field.message()?)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn read_status(&mut self, mut status: Message<'a>) -> Result<(), DecodeError> {
        while let Some(field) = status.next()? {
            match field.number {
                2 => self.status_message = field.bytes()?,
                3 => self.status_code = field.int32()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Nanoseconds from start to end, 0 when the end lies before the start.
    fn duration(&self) -> i64 {
        i64::try_from(self.end.saturating_sub(self.start)).unwrap_or(i64::MAX)
    }
}

impl Records for Spans {
    const NAME: &str = "span";

    fn push(&mut self, record: Message<'_>, request: &mut Request) -> Result<(), DecodeError> {
        let span = Span::read(record)?;
        let Some(trace_id) = valid_id(span.trace_id) else {
            request.reject("a trace id is 16 bytes, not all zero");
            return Ok(());
        };
        let Some(span_id) = valid_id(span.span_id) else {
            request.reject("a span id is 8 bytes, not all zero");
            return Ok(());
        };
        let parent_span_id = valid_id(span.parent_span_id);
        if parent_span_id.is_none() && span.parent_span_id.iter().any(|byte| *byte != 0) {
            request.reject("a parent span id is 8 bytes");
            return Ok(());
        }
        if span.bad_link {
            request.reject("the trace id of a link is 16 bytes and its span id 8");
            return Ok(());
        }
        if !request.admit(span.events + span.links, 0) {
            return Ok(());
        }
        self.time.push(span.start);
        self.end_time.push(span.end);
        self.duration.append_value(span.duration());
        self.trace_id.push(Some(trace_id));
        self.span_id.push(Some(span_id));
        self.parent_span_id.push(parent_span_id);
        self.name.push(span.name);
        self.kind.push(spell(SPAN_KINDS, span.kind).as_bytes());
        self.status.push(spell(STATUS_CODES, span.status_code).as_bytes());
        self.status_message.push(span.status_message);
        self.trace_state.push(span.trace_state);
        self.flags.append_value(span.flags);
        self.attributes.push(record, ATTRIBUTES)?;
        self.dropped_attributes.append_value(span.dropped_attributes);
        self.events.push(record, span.events)?;
        self.dropped_events.append_value(span.dropped_events);
        self.links.push(record, span.links)?;
        self.dropped_links.append_value(span.dropped_links);
        Ok(())
    }

    fn end_scope(&mut self, origin: &Origin) {
        self.origin.fill(self.time.len(), origin);
    }

    fn finish(mut self) -> Vec<Batch> {
        if self.time.len() == 0 {
            return Vec::new();
        }
        let mut assembly = Assembly::new(Table::Spans);
        let (attributes, attribute_types) = self.attributes.finish();
        let columns: [(&str, ArrayRef); 19] = [
            ("time", self.time.finish()),
            ("end_time", self.end_time.finish()),
            ("duration_ns", Arc::new(self.duration.finish())),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("parent_span_id", Arc::new(self.parent_span_id.finish())),
            ("name", Arc::new(self.name.finish())),
            ("kind", Arc::new(self.kind.finish())),
            ("status", Arc::new(self.status.finish())),
            ("status_message", Arc::new(self.status_message.finish())),
            ("trace_state", Arc::new(self.trace_state.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("attributes", attributes),
            ("attribute_types", attribute_types),
            ("dropped_attributes_count", Arc::new(self.dropped_attributes.finish())),
            ("events", self.events.finish()),
            ("dropped_events_count", Arc::new(self.dropped_events.finish())),
            ("links", self.links.finish()),
            ("dropped_links_count", Arc::new(self.dropped_links.finish())),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        self.origin.finish(&mut assembly);
        vec![assembly.finish()]
    }
}

#[derive(Default)]
struct Events {
    lists: Lists,
    time: Times,
    name: Text,
    attributes: Attributes,
    dropped_attributes: UInt32Builder,
}

impl Events {
    /// The events of one span, which has `count` of them.
    fn push(&mut self, mut span: Message<'_>, count: usize) -> Result<(), DecodeError> {
        while count > 0
            && let Some(field) = span.next()?
        {
            if field.number == EVENTS {
                self.push_event(field.message()?)?;
            }
        }
        self.lists.close(self.time.len());
        Ok(())
    }

    fn push_event(&mut self, event: Message<'_>) -> Result<(), DecodeError> {
        let (mut time, mut name, mut dropped) = (0, &[][..], 0);
        let mut fields = event;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => time = field.fixed64()?,
                2 => name = field.bytes()?,
                4 => dropped = field.uint32()?,
                _ => {}
            }
        }
        self.time.push(time);
        self.name.push(name);
        self.attributes.push(event, 3)?;
        self.dropped_attributes.append_value(dropped);
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        let (attributes, types) = self.attributes.finish();
        let dropped = Arc::new(self.dropped_attributes.finish());
        let columns: Vec<ArrayRef> = vec![self.time.finish(), Arc::new(self.name.finish()), attributes, types, dropped];
        Arc::new(self.lists.finish_structs(event_fields(), columns))
    }
}

#[derive(Default)]
struct Links {
    lists: Lists,
    count: usize,
    trace_id: TraceIds,
    span_id: SpanIds,
    trace_state: Text,
    attributes: Attributes,
    dropped_attributes: UInt32Builder,
    flags: UInt32Builder,
}

struct Link<'a> {
    trace_id: &'a [u8; 16],
    span_id: &'a [u8; 8],
    trace_state: &'a [u8],
    dropped_attributes: u32,
    flags: u32,
}

impl<'a> Link<'a> {
    /// `None` when an id has a length that no id has. Absent ids are legal in a link and become all zero.
    fn read(mut message: Message<'a>) -> Result<Option<Link<'a>>, DecodeError> {
        let (mut trace_id, mut span_id, mut trace_state) = (&[][..], &[][..], &[][..]);
        let (mut dropped_attributes, mut flags) = (0, 0);
        while let Some(field) = message.next()? {
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => trace_state = field.bytes()?,
                5 => dropped_attributes = field.uint32()?,
                6 => flags = field.fixed32()?,
                _ => {}
            }
        }
        let (Some(trace_id), Some(span_id)) = (or_zero(trace_id), or_zero(span_id)) else {
            return Ok(None);
        };
        Ok(Some(Link { trace_id, span_id, trace_state, dropped_attributes, flags }))
    }
}

fn or_zero<const BYTES: usize>(id: &[u8]) -> Option<&[u8; BYTES]> {
    if id.is_empty() { Some(&[0; BYTES]) } else { id.try_into().ok() }
}

impl Links {
    /// The links of one span, which has `count` of them.
    fn push(&mut self, mut span: Message<'_>, count: usize) -> Result<(), DecodeError> {
        while count > 0
            && let Some(field) = span.next()?
        {
            if field.number == LINKS {
                self.push_link(field.message()?)?;
            }
        }
        self.lists.close(self.count);
        Ok(())
    }

    fn push_link(&mut self, message: Message<'_>) -> Result<(), DecodeError> {
        let Some(link) = Link::read(message)? else { unreachable!("a span with a bad link was rejected") };
        self.count += 1;
        self.trace_id.push(Some(link.trace_id));
        self.span_id.push(Some(link.span_id));
        self.trace_state.push(link.trace_state);
        self.attributes.push(message, 4)?;
        self.dropped_attributes.append_value(link.dropped_attributes);
        self.flags.append_value(link.flags);
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        let (attributes, types) = self.attributes.finish();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.trace_state.finish()),
            attributes,
            types,
            Arc::new(self.dropped_attributes.finish()),
            Arc::new(self.flags.finish()),
        ];
        Arc::new(self.lists.finish_structs(link_fields(), columns))
    }
}
