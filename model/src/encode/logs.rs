//! Rows of `logs` to `LogRecord`.

use arrow::array::{Array, Int32Array, RecordBatch, StringArray, UInt32Array};

use super::origin::Origins;
use super::rows::Rows;
use super::tree::Tree;
use crate::value::{self, letter};
use crate::wire::{Writer, sign_extended};

pub(super) fn write(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let origins = Origins::of(rows);
    let (event_time, observed_time) = (rows.times("event_time"), rows.times("observed_time"));
    let (trace_id, span_id) = (rows.ids("trace_id"), rows.ids("span_id"));
    let severity_number: &Int32Array = rows.numbers("severity_number");
    let (severity_text, event_name) = (rows.labels("severity_text"), rows.labels("event_name"));
    let (body, body_type) = (rows.text("body"), rows.text("body_type"));
    let attributes = rows.attributes("attributes", "attribute_types");
    let flags: &UInt32Array = rows.numbers("flags");
    let dropped_attributes: &UInt32Array = rows.numbers("dropped_attributes_count");
    for row in 0..batch.num_rows() {
        let scope = origins.scope(row, tree);
        tree.record(scope, 2, |record| {
            record.nonzero_fixed64(1, event_time.get(row));
            record.nonzero_varint(2, sign_extended(severity_number.value(row)));
            record.nonempty_bytes(3, severity_text.get(row).as_bytes());
            write_body(body, body_type, row, record);
            attributes.write(row, 6, record);
            record.nonzero_varint(7, dropped_attributes.value(row).into());
            record.nonzero_fixed32(8, flags.value(row));
            trace_id.write(row, 9, record);
            span_id.write(row, 10, record);
            record.nonzero_fixed64(11, observed_time.get(row));
            record.nonempty_bytes(12, event_name.get(row).as_bytes());
        });
    }
}

fn write_body(body: &StringArray, types: &StringArray, row: usize, record: &mut Writer) {
    let letter = match types.is_valid(row) {
        true => types.value(row).as_bytes().first().copied().unwrap_or(letter::STRING),
        false => letter::STRING,
    };
    if letter != letter::ABSENT {
        record.message(5, |any| value::write_wire(letter, body.value(row), any));
    }
}
