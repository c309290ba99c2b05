//! Columns while they are filled, where arrow's own builders would make us check or copy twice.
//!
//! Text is taken as bytes and checked for UTF-8 once a column, not once a value; only a column that fails is repaired value by
//! value. What every record of a scope shares is appended as copies of one row. Numbers use arrow's builders.
//!
//! Offsets are 32 bits. They cannot overflow: `decode` bounds the body and what copies and rows may add to it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int32Array, Int32Builder, ListArray, NullBufferBuilder, StringArray, StructArray,
};
use arrow::array::{DictionaryArray, RecordBatch, TimestampNanosecondBuilder};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{Fields, Int32Type};

use crate::schema::{self, SPAN_ID_BYTES, TRACE_ID_BYTES};
use crate::{Batch, Table};

/// Utf8 without nulls.
pub(crate) struct Text {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Text {
    fn default() -> Text {
        Text { offsets: vec![0], bytes: Vec::new() }
    }
}

impl Text {
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// Where the next value is written; [`Text::close`] ends it.
    #[inline]
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(crate) fn close(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
    }

    /// Values so far.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Bytes of all values so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.bytes.truncate(self.offsets[len] as usize);
    }

    /// Appends all values of `other`, `times` times.
    pub(crate) fn copy(&mut self, other: &Text, times: usize) {
        self.bytes.reserve(other.bytes.len() * times);
        for _ in 0..times {
            let base = self.bytes.len() as i32;
            self.bytes.extend_from_slice(&other.bytes);
            self.offsets.extend(other.offsets[1..].iter().map(|offset| base + offset));
        }
    }

    pub(crate) fn finish(self) -> StringArray {
        self.finish_with(None)
    }

    fn finish_with(self, nulls: Option<arrow::buffer::NullBuffer>) -> StringArray {
        let offsets = OffsetBuffer::new(self.offsets.into());
        let bytes = Buffer::from_vec(self.bytes);
        StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone()).unwrap_or_else(|_| {
            let repaired = repair(&offsets, &bytes);
            StringArray::new(OffsetBuffer::new(repaired.offsets.into()), Buffer::from_vec(repaired.bytes), nulls)
        })
    }
}

/// Replaces what is not UTF-8 by U+FFFD, so that one bad string costs neither its record nor its neighbours.
#[cold]
fn repair(offsets: &[i32], bytes: &[u8]) -> Text {
    let mut repaired = Text::default();
    for bounds in offsets.windows(2) {
        let value = &bytes[bounds[0] as usize..bounds[1] as usize];
        repaired.push(String::from_utf8_lossy(value).as_bytes());
    }
    repaired
}

/// Utf8 with nulls.
pub(crate) struct OptionalText {
    text: Text,
    nulls: NullBufferBuilder,
}

impl Default for OptionalText {
    fn default() -> OptionalText {
        OptionalText { text: Text::default(), nulls: NullBufferBuilder::new(0) }
    }
}

impl OptionalText {
    #[inline]
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        self.text.push(value.unwrap_or_default());
        self.nulls.append(value.is_some());
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.bytes()
    }

    /// Appends all values of `other`, `times` times.
    pub(crate) fn copy(&mut self, other: &OptionalText, times: usize) {
        self.text.copy(&other.text, times);
        for _ in 0..times {
            (0..other.text.len()).for_each(|index| self.nulls.append(other.nulls.is_valid(index)));
        }
    }

    pub(crate) fn finish(mut self) -> StringArray {
        self.text.finish_with(self.nulls.finish())
    }
}

/// Dictionary-encoded text.
#[derive(Default)]
pub(crate) struct Labels {
    keys: Int32Builder,
    values: Text,
    known: HashMap<Box<[u8]>, i32>,
}

impl Labels {
    #[inline]
    pub(crate) fn push(&mut self, label: &[u8]) {
        self.push_times(label, 1);
    }

    pub(crate) fn push_null(&mut self) {
        self.keys.append_null();
    }

    #[inline]
    pub(crate) fn push_times(&mut self, label: &[u8], times: usize) {
        let key = self.key(label);
        self.keys.append_value_n(key, times);
    }

    /// Repeats are the rule: the label before is compared before anything is hashed.
    #[inline]
    fn key(&mut self, label: &[u8]) -> i32 {
        if let Some(last) = self.keys.values_slice().last()
            && self.values.len() > *last as usize
            && self.values.get(*last as usize) == label
        {
            return *last;
        }
        if let Some(key) = self.known.get(label) {
            return *key;
        }
        let key = self.values.len() as i32;
        self.values.push(label);
        self.known.insert(label.into(), key);
        key
    }

    pub(crate) fn finish(mut self) -> DictionaryArray<Int32Type> {
        let keys: Int32Array = self.keys.finish();
        DictionaryArray::new(keys, Arc::new(self.values.finish()))
    }
}

/// Ids of `BYTES` bytes.
pub(crate) struct Ids<const BYTES: usize> {
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

pub(crate) type TraceIds = Ids<{ TRACE_ID_BYTES as usize }>;
pub(crate) type SpanIds = Ids<{ SPAN_ID_BYTES as usize }>;

impl<const BYTES: usize> Default for Ids<BYTES> {
    fn default() -> Ids<BYTES> {
        Ids { bytes: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }
}

impl<const BYTES: usize> Ids<BYTES> {
    #[inline]
    pub(crate) fn push(&mut self, id: Option<&[u8; BYTES]>) {
        self.bytes.extend_from_slice(id.unwrap_or(&[0; BYTES]));
        self.nulls.append(id.is_some());
    }

    pub(crate) fn finish(mut self) -> FixedSizeBinaryArray {
        FixedSizeBinaryArray::new(BYTES as i32, Buffer::from_vec(self.bytes), self.nulls.finish())
    }
}

/// Where the lists of a list column end; their items are kept by its owner.
pub(crate) struct Lists {
    offsets: Vec<i32>,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { offsets: vec![0] }
    }
}

impl Lists {
    /// Ends the row's list, after `items` items of all rows.
    #[inline]
    pub(crate) fn close(&mut self, items: usize) {
        self.offsets.push(items as i32);
    }

    pub(crate) fn finish(self, items: ArrayRef) -> ListArray {
        let field = arrow::datatypes::Field::new("item", items.data_type().clone(), false);
        ListArray::new(Arc::new(field), OffsetBuffer::new(self.offsets.into()), items, None)
    }

    pub(crate) fn finish_structs(self, fields: Vec<arrow::datatypes::Field>, columns: Vec<ArrayRef>) -> ListArray {
        self.finish(Arc::new(StructArray::new(Fields::from(fields), columns, None)))
    }

    pub(crate) fn into_offsets(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(self.offsets.into())
    }

    /// Bounds of the items of `row`.
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// Appends the lists of `other`, `times` times, for items appended likewise.
    pub(crate) fn copy(&mut self, other: &Lists, times: usize) {
        for _ in 0..times {
            let base = self.offsets[self.offsets.len() - 1];
            self.offsets.extend(other.offsets[1..].iter().map(|offset| base + offset));
        }
    }
}

/// Times of a column of [`schema::time_type`].
pub(crate) struct Times(TimestampNanosecondBuilder);

impl Default for Times {
    fn default() -> Times {
        Times(TimestampNanosecondBuilder::new().with_data_type(schema::time_type()))
    }
}

impl Times {
    /// OTLP's unsigned nanoseconds, bit for bit.
    #[inline]
    pub(crate) fn push(&mut self, unix_nanos: u64) {
        self.0.append_value(unix_nanos as i64);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values_slice().len()
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Puts finished columns where the schema has them.
pub(crate) struct Assembly {
    table: Table,
    columns: Vec<Option<ArrayRef>>,
}

impl Assembly {
    pub(crate) fn new(table: Table) -> Assembly {
        Assembly { table, columns: vec![None; table.columns().len()] }
    }

    pub(crate) fn set(&mut self, name: &str, column: impl Into<ArrayRef>) {
        let index = self.table.schema().index_of(name).expect("every column set is in schema.rs");
        self.columns[index] = Some(column.into());
    }

    pub(crate) fn finish(self) -> Batch {
        let columns =
            self.columns.into_iter().map(|column| column.expect("every column of schema.rs is set")).collect();
        let rows = RecordBatch::try_new(Arc::clone(self.table.schema()), columns)
            .expect("the columns have the types of schema.rs");
        Batch::new(self.table, rows).expect("the schema is the table's own")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn a_bad_string_is_replaced_and_its_neighbours_stay() {
        let mut text = Text::default();
        // Together the first two are one character; each alone is none.
        for value in [&b"\xc3"[..], b"\xa9", b"ok", b""] {
            text.push(value);
        }
        let array = text.finish();
        assert_eq!(array.iter().flatten().collect::<Vec<_>>(), ["\u{fffd}", "\u{fffd}", "ok", ""]);
    }

    #[test]
    fn labels_are_kept_once() {
        let mut labels = Labels::default();
        labels.push_null();
        for label in ["a", "a", "b", "", "a"] {
            labels.push(label.as_bytes());
        }
        let array = labels.finish();
        assert_eq!(array.values().len(), 3);
        assert_eq!(array.keys().iter().collect::<Vec<_>>(), [None, Some(0), Some(0), Some(1), Some(2), Some(0)]);
    }
}
