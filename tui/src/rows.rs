//! One answer as the screens read it: an Arrow batch whose columns were checked once, on arrival.
//!
//! A query node may spell text as `Utf8`, `Utf8View` or a dictionary and counts as any integer; here each declared
//! column becomes the one type its reader expects, so drawing never fails on a type.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;

/// What the reader of a column expects of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text; null reads as `""`.
    Text,
    /// A count or an amount in whole units; null reads as 0.
    Whole,
    /// A measurement; null reads as NaN.
    Real,
    /// Nanoseconds since the Unix epoch, UTC; null reads as 0.
    Time,
    /// Attributes, events or links: nested, and read by the functions below.
    Nested,
}

/// The columns a panel needs, in the order its SQL names them.
pub(crate) type Columns = &'static [(&'static str, Kind)];

/// Rows of one answer. Invariant: every declared column is there, in the type its [`Kind`] says.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    batch: RecordBatch,
}

/// One event of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpanEvent {
    pub(crate) time_ns: i64,
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

/// Where a span's link points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpanLink {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
}

impl Rows {
    /// Reads an Arrow IPC stream; the error is a sentence for the status line.
    pub(crate) fn decode(columns: Columns, stream: &[u8]) -> Result<Rows, String> {
        let not_arrow = |error: ArrowError| format!("the answer is not an Arrow stream: {error}");
        let reader = StreamReader::try_new(Cursor::new(stream), None).map_err(not_arrow)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(not_arrow)?;
        Rows::new(columns, &schema, &batches)
    }

    /// Checks and casts the declared columns; others are dropped.
    pub(crate) fn new(columns: Columns, schema: &Schema, batches: &[RecordBatch]) -> Result<Rows, String> {
        let mut fields = Vec::with_capacity(columns.len());
        let mut indices = Vec::with_capacity(columns.len());
        for (name, kind) in columns {
            let index = schema
                .index_of(name)
                .map_err(|_| format!("the answer has no column `{name}`: is the query node older than this UI?"))?;
            let to = arrow_type(*kind, schema.field(index).data_type());
            fields.push(Field::new(*name, to, true));
            indices.push(index);
        }
        let schema = Arc::new(Schema::new(fields));
        let mut checked = Vec::with_capacity(batches.len());
        for batch in batches {
            let cast_columns = indices
                .iter()
                .zip(schema.fields())
                .map(|(index, field)| {
                    convert(batch.column(*index), field.data_type())
                        .map_err(|error| format!("column `{}` cannot be read: {error}", field.name()))
                })
                .collect::<Result<Vec<_>, String>>()?;
            let batch = RecordBatch::try_new(schema.clone(), cast_columns)
                .map_err(|error| format!("the answer does not fit its schema: {error}"))?;
            checked.push(batch);
        }
        let batch = concat_batches(&schema, &checked)
            .map_err(|error| format!("the parts of the answer do not fit together: {error}"))?;
        Ok(Rows { batch })
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn text(&self, column: &str, row: usize) -> &str {
        let array: Option<&StringArray> = self.column(column).and_then(|array| array.as_string_opt());
        match array {
            Some(array) if array.is_valid(row) => array.value(row),
            _ => "",
        }
    }

    pub(crate) fn whole(&self, column: &str, row: usize) -> i64 {
        let array: Option<&Int64Array> = self.column(column).and_then(|array| array.as_primitive_opt::<Int64Type>());
        match array {
            Some(array) if array.is_valid(row) => array.value(row),
            _ => 0,
        }
    }

    pub(crate) fn real(&self, column: &str, row: usize) -> f64 {
        let array: Option<&Float64Array> =
            self.column(column).and_then(|array| array.as_primitive_opt::<Float64Type>());
        match array {
            Some(array) if array.is_valid(row) => array.value(row),
            _ => f64::NAN,
        }
    }

    pub(crate) fn time_ns(&self, column: &str, row: usize) -> i64 {
        self.whole(column, row)
    }

    /// A map column as pairs in the order stored.
    pub(crate) fn pairs(&self, column: &str, row: usize) -> Vec<(String, String)> {
        self.column(column).map(|array| pairs(array, row)).unwrap_or_default()
    }

    /// A span's events; see `spans.events`.
    pub(crate) fn events(&self, column: &str, row: usize) -> Vec<SpanEvent> {
        let Some(entries) = self.entries(column, row) else { return Vec::new() };
        let time = entries.column_by_name("time").and_then(|times| convert(times, &DataType::Int64).ok());
        (0..entries.len())
            .map(|index| SpanEvent {
                time_ns: time.as_ref().map_or(0, |time| time.as_primitive::<Int64Type>().value(index)),
                name: field_text(&entries, "name", index),
                attributes: entries.column_by_name("attributes").map(|array| pairs(array, index)).unwrap_or_default(),
            })
            .collect()
    }

    /// A span's links; see `spans.links`.
    pub(crate) fn links(&self, column: &str, row: usize) -> Vec<SpanLink> {
        let Some(entries) = self.entries(column, row) else { return Vec::new() };
        (0..entries.len())
            .map(|index| SpanLink {
                trace_id: field_text(&entries, "trace_id", index),
                span_id: field_text(&entries, "span_id", index),
            })
            .collect()
    }

    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(name)
    }

    fn entries(&self, column: &str, row: usize) -> Option<StructArray> {
        let list: &ListArray = self.column(column)?.as_list_opt::<i32>()?;
        if !list.is_valid(row) {
            return None;
        }
        list.value(row).as_struct_opt().cloned()
    }
}

fn arrow_type(kind: Kind, found: &DataType) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Whole | Kind::Time => DataType::Int64,
        Kind::Real => DataType::Float64,
        Kind::Nested => found.clone(),
    }
}

/// Like `cast`, with times brought to nanoseconds before they become plain numbers.
fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), to) {
        (found, to) if found == to => Ok(array.clone()),
        (DataType::Timestamp(_, zone), DataType::Int64) => {
            cast(&cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))?, to)
        }
        _ => cast(array, to),
    }
}

fn pairs(array: &ArrayRef, row: usize) -> Vec<(String, String)> {
    let Some(map) = array.as_map_opt() else { return Vec::new() };
    if !map.is_valid(row) {
        return Vec::new();
    }
    let entries = map.value(row);
    (0..entries.len()).map(|index| (plain(entries.column(0), index), plain(entries.column(1), index))).collect()
}

fn field_text(entries: &StructArray, field: &str, index: usize) -> String {
    entries.column_by_name(field).map(|array| plain(array, index)).unwrap_or_default()
}

/// Any value as text; bytes come out as lower-case hex, which is how ids are written.
fn plain(array: &ArrayRef, index: usize) -> String {
    array_value_to_string(array, index).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::array::{DictionaryArray, FixedSizeBinaryArray, TimestampMillisecondArray, UInt64Array};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    /// The bytes a query node would send.
    pub(crate) fn stream(batch: &RecordBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).expect("a stream");
        writer.write(batch).expect("a batch");
        writer.finish().expect("an end");
        drop(writer);
        bytes
    }

    fn batch() -> RecordBatch {
        let service: DictionaryArray<Int32Type> = ["core", "jobs"].into_iter().collect();
        let id = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 2], [0x01; 2]].into_iter()).expect("ids");
        RecordBatch::try_from_iter([
            ("service", Arc::new(service) as ArrayRef),
            ("requests", Arc::new(UInt64Array::from(vec![7, 9])) as ArrayRef),
            ("time", Arc::new(TimestampMillisecondArray::from(vec![5, 6]).with_timezone("UTC")) as ArrayRef),
            ("id", Arc::new(id) as ArrayRef),
        ])
        .expect("columns of one length")
    }

    #[test]
    fn columns_arrive_in_the_type_their_reader_expects() {
        let columns: Columns =
            &[("service", Kind::Text), ("requests", Kind::Real), ("time", Kind::Time), ("id", Kind::Nested)];
        let rows = Rows::decode(columns, &stream(&batch())).expect("a good answer");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.text("service", 1), "jobs");
        assert_eq!(rows.real("requests", 1), 9.0);
        assert_eq!(rows.time_ns("time", 0), 5_000_000);
        assert_eq!(plain(rows.column("id").expect("declared"), 0), "abab");
    }

    #[test]
    fn a_missing_column_and_garbage_are_sentences() {
        let missing = Rows::decode(&[("p95", Kind::Real)], &stream(&batch())).expect_err("no such column");
        assert!(missing.contains("no column `p95`"), "{missing}");
        let garbage = Rows::decode(&[("p95", Kind::Real)], b"<html>").expect_err("not arrow");
        assert!(garbage.contains("not an Arrow stream"), "{garbage}");
    }

    #[test]
    fn an_answer_without_rows_is_empty_rather_than_an_error() {
        let empty = batch().slice(0, 0);
        let rows = Rows::decode(&[("service", Kind::Text)], &stream(&empty)).expect("a good answer");
        assert!(rows.is_empty());
        assert_eq!(rows.text("no such column", 0), "");
    }
}
