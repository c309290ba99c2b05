//! Rows of `spans` to `Span`.

use arrow::array::{ListArray, RecordBatch, StringArray, UInt32Array};

use super::origin::Origins;
use super::rows::{Attributes, Ids, Rows, Times, items, structs};
use super::tree::Tree;
use crate::enumeration::{SPAN_KINDS, STATUS_CODES, number};
use crate::wire::{Writer, sign_extended};

pub(super) fn write(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let origins = Origins::of(rows);
    let (trace_id, span_id, parent_span_id) = (rows.ids("trace_id"), rows.ids("span_id"), rows.ids("parent_span_id"));
    let (time, end_time) = (rows.times("time"), rows.times("end_time"));
    let (name, kind, trace_state) = (rows.labels("name"), rows.labels("kind"), rows.text("trace_state"));
    let (status, status_message) = (rows.labels("status"), rows.text("status_message"));
    let attributes = rows.attributes("attributes", "attribute_types");
    let flags: &UInt32Array = rows.numbers("flags");
    let dropped_attributes: &UInt32Array = rows.numbers("dropped_attributes_count");
    let dropped_events: &UInt32Array = rows.numbers("dropped_events_count");
    let dropped_links: &UInt32Array = rows.numbers("dropped_links_count");
    let (events, links) = (Events::of(rows.list("events")), Links::of(rows.list("links")));
    for row in 0..batch.num_rows() {
        let scope = origins.scope(row, tree);
        tree.record(scope, 2, |span| {
            trace_id.write(row, 1, span);
            span_id.write(row, 2, span);
            span.nonempty_bytes(3, trace_state.value(row).as_bytes());
            parent_span_id.write(row, 4, span);
            span.nonempty_bytes(5, name.get(row).as_bytes());
            span.nonzero_varint(6, sign_extended(number(SPAN_KINDS, kind.get(row))));
            span.nonzero_fixed64(7, time.get(row));
            span.nonzero_fixed64(8, end_time.get(row));
            attributes.write(row, 9, span);
            span.nonzero_varint(10, dropped_attributes.value(row).into());
            events.write(row, 11, span);
            span.nonzero_varint(12, dropped_events.value(row).into());
            links.write(row, 13, span);
            span.nonzero_varint(14, dropped_links.value(row).into());
            write_status(number(STATUS_CODES, status.get(row)), status_message.value(row), span);
            span.nonzero_fixed32(16, flags.value(row));
        });
    }
}

fn write_status(code: i32, message: &str, span: &mut Writer) {
    if code != 0 || !message.is_empty() {
        span.message(15, |status| {
            status.nonempty_bytes(2, message.as_bytes());
            status.nonzero_varint(3, sign_extended(code));
        });
    }
}

struct Events<'a> {
    list: &'a ListArray,
    time: Times<'a>,
    name: &'a StringArray,
    attributes: Attributes<'a>,
    dropped_attributes: &'a UInt32Array,
}

impl<'a> Events<'a> {
    fn of(list: &'a ListArray) -> Events<'a> {
        let events = structs(list);
        Events {
            list,
            time: events.times("time"),
            name: events.text("name"),
            attributes: events.attributes("attributes", "attribute_types"),
            dropped_attributes: events.numbers("dropped_attributes_count"),
        }
    }

    fn write(&self, row: usize, number: u32, span: &mut Writer) {
        for item in items(self.list, row) {
            span.message(number, |event| {
                event.nonzero_fixed64(1, self.time.get(item));
                event.nonempty_bytes(2, self.name.value(item).as_bytes());
                self.attributes.write(item, 3, event);
                event.nonzero_varint(4, self.dropped_attributes.value(item).into());
            });
        }
    }
}

struct Links<'a> {
    list: &'a ListArray,
    trace_id: Ids<'a>,
    span_id: Ids<'a>,
    trace_state: &'a StringArray,
    attributes: Attributes<'a>,
    dropped_attributes: &'a UInt32Array,
    flags: &'a UInt32Array,
}

impl<'a> Links<'a> {
    fn of(list: &'a ListArray) -> Links<'a> {
        let links = structs(list);
        Links {
            list,
            trace_id: links.ids("trace_id"),
            span_id: links.ids("span_id"),
            trace_state: links.text("trace_state"),
            attributes: links.attributes("attributes", "attribute_types"),
            dropped_attributes: links.numbers("dropped_attributes_count"),
            flags: links.numbers("flags"),
        }
    }

    fn write(&self, row: usize, number: u32, span: &mut Writer) {
        for item in items(self.list, row) {
            span.message(number, |link| {
                self.trace_id.write(item, 1, link);
                self.span_id.write(item, 2, link);
                link.nonempty_bytes(3, self.trace_state.value(item).as_bytes());
                self.attributes.write(item, 4, link);
                link.nonzero_varint(5, self.dropped_attributes.value(item).into());
                link.nonzero_fixed32(6, self.flags.value(item));
            });
        }
    }
}
