//! Columns of ours as ClickHouse wants them: ids as hex text, map keys in order, lists of structs as a list a field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, ListArray, MapArray, StringArray, StructArray};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int32Type, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::tables::{Column, Destination};

/// How a column is made, by names of columns of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    /// As it is. Null becomes the default of the type there, unless that is Nullable.
    Same(&'static str),
    /// Lower-case hex, '' for null.
    Hex(&'static str),
    /// Keys in order: a GROUP BY there tells maps apart by it.
    Map(&'static str),
    /// The number of the label, 0 for null.
    Temporality(&'static str),
    /// The first, or the integer as a double; null when there is neither.
    Double(&'static str, &'static str),
    /// Of the structs in a list.
    Nested(&'static str, &'static Make),
}

/// The rows that go to `destination`.
pub(super) fn select(destination: Destination, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let Some(wanted) = destination.point_type() else { return Ok(rows.clone()) };
    let labels = Source::of(rows).column("type")?.as_dictionary::<Int32Type>();
    let texts = labels.values().as_string::<i32>();
    let is_wanted = labels.keys().iter().map(|key| Some(key.is_some_and(|key| texts.value(key as usize) == wanted)));
    filter_record_batch(rows, &is_wanted.collect::<BooleanArray>())
}

/// One batch, so that the server makes one block of it.
pub(super) fn arrow_stream(columns: &[Column], rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let source = Source::of(rows);
    let arrays = columns.iter().map(|column| source.make(&column.make)).collect::<Result<Vec<_>, _>>()?;
    let fields = columns.iter().zip(&arrays);
    let fields: Fields = fields
        .map(|(column, array)| Field::new(column.name, array.data_type().clone(), array.null_count() > 0))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// Columns by name.
#[derive(Clone, Copy)]
struct Source<'a> {
    fields: &'a Fields,
    columns: &'a [ArrayRef],
}

impl<'a> Source<'a> {
    fn of(rows: &'a RecordBatch) -> Source<'a> {
        Source { fields: rows.schema_ref().fields(), columns: rows.columns() }
    }

    fn column(self, name: &str) -> Result<&'a ArrayRef, ArrowError> {
        let found = self.fields.find(name).and_then(|(index, _)| self.columns.get(index));
        found.ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
    }

    fn make(self, make: &Make) -> Result<ArrayRef, ArrowError> {
        Ok(match make {
            Make::Same(name) => Arc::clone(self.column(name)?),
            Make::Hex(name) => Arc::new(hex(self.column(name)?)),
            Make::Map(name) => Arc::new(sorted(self.column(name)?.as_map())?),
            Make::Temporality(name) => Arc::new(temporality(self.column(name)?)),
            Make::Double(double, int) => Arc::new(double_of(self.column(double)?, self.column(int)?)),
            Make::Nested(list, item) => {
                let list = self.column(list)?.as_list::<i32>();
                let structs = list.values().as_struct();
                let items = Source { fields: structs.fields(), columns: structs.columns() }.make(item)?;
                let field = Field::new("item", items.data_type().clone(), items.null_count() > 0);
                Arc::new(ListArray::try_new(Arc::new(field), list.offsets().clone(), items, None)?)
            }
        })
    }
}

fn hex(column: &ArrayRef) -> StringArray {
    let ids = column.as_fixed_size_binary();
    let text = |row| if ids.is_null(row) { String::new() } else { model::ids::format(ids.value(row)) };
    StringArray::from_iter_values((0..ids.len()).map(text))
}

fn sorted(map: &MapArray) -> Result<MapArray, ArrowError> {
    let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    let bounds = map.value_offsets();
    let mut order: Vec<usize> = Vec::with_capacity(keys.len());
    for bounds in bounds.windows(2) {
        let start = order.len();
        order.extend(bounds[0] as usize..bounds[1] as usize);
        order[start..].sort_unstable_by_key(|entry| keys.value(*entry));
    }
    let value = |entry: usize| if values.is_null(entry) { "" } else { values.value(entry) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(order.iter().map(|entry| keys.value(*entry)))),
        Arc::new(StringArray::from_iter_values(order.iter().map(|entry| value(*entry)))),
    ];
    let fields =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)]);
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(bounds.windows(2).map(|bounds| (bounds[1] - bounds[0]) as usize));
    MapArray::try_new(Arc::new(Field::new("entries", DataType::Struct(fields), false)), offsets, entries, None, false)
}

fn temporality(column: &ArrayRef) -> Int32Array {
    let labels = column.as_dictionary::<Int32Type>();
    let texts = labels.values().as_string::<i32>();
    let number = |key: Option<i32>| match key.map(|key| texts.value(key as usize)) {
        None | Some("Unspecified") => 0,
        Some("Delta") => 1,
        Some("Cumulative") => 2,
        // A value OTLP got later: the label is its number.
        Some(other) => other.parse().unwrap_or(0),
    };
    Int32Array::from_iter_values(labels.keys().iter().map(number))
}

fn double_of(double: &ArrayRef, int: &ArrayRef) -> Float64Array {
    let (double, int) = (double.as_primitive::<Float64Type>(), int.as_primitive::<Int64Type>());
    double.iter().zip(int).map(|(double, int)| double.or(int.map(|int| int as f64))).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeBinaryArray, MapBuilder, StringBuilder};
    use arrow::ipc::reader::StreamReader;
    use model::{Batch, Signal, Table};

    use super::*;

    fn map(rows: &[&[(&str, &str)]]) -> MapArray {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for row in rows {
            for (key, value) in *row {
                builder.keys().append_value(key);
                builder.values().append_value(value);
            }
            builder.append(true).unwrap();
        }
        builder.finish()
    }

    fn text(map: &MapArray) -> Vec<String> {
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let rows = map.value_offsets().windows(2).map(|bounds| {
            let entries = bounds[0] as usize..bounds[1] as usize;
            entries.map(|entry| format!("{}={} ", keys.value(entry), values.value(entry))).collect()
        });
        rows.collect()
    }

    #[test]
    fn keys_of_a_map_are_sorted_and_keep_their_values() {
        let map = map(&[&[("b", "1"), ("a", "2"), ("c", "3")], &[], &[("z", "4")], &[("y", "6"), ("x", "5")]]);
        assert_eq!(text(&sorted(&map).unwrap()), ["a=2 b=1 c=3 ", "", "z=4 ", "x=5 y=6 "]);
        assert_eq!(text(&sorted(&map.slice(2, 2)).unwrap()), ["z=4 ", "x=5 y=6 "], "of a slice too");
    }

    #[test]
    fn ids_are_hex_and_absent_ones_empty() {
        let ids = [Some([0x0a_u8, 0xff]), None].into_iter();
        let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 2).unwrap());
        assert_eq!(hex(&ids).iter().flatten().collect::<Vec<_>>(), ["0aff", ""]);
    }

    fn decoded(signal: Signal, request: &str) -> Vec<Batch> {
        model::decode_json(signal, request.as_bytes()).unwrap().batches
    }

    fn round_trip(destination: Destination, rows: &RecordBatch) -> RecordBatch {
        let bytes = arrow_stream(&destination.columns(), &select(destination, rows).unwrap()).unwrap();
        let mut batches = StreamReader::try_new(&bytes[..], None).unwrap();
        let batch = batches.next().unwrap().unwrap();
        assert!(batches.next().is_none(), "one batch makes one block");
        batch
    }

    #[test]
    fn a_span_becomes_a_row_of_otel_traces() {
        let request = r#"{"resourceSpans":[{"resource":{"attributes":[
                {"key":"service.name","value":{"stringValue":"shop"}},{"key":"a","value":{"intValue":"7"}}]},
            "scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"pay",
                "kind":2,"startTimeUnixNano":"5","endTimeUnixNano":"12",
                "events":[{"name":"e1","timeUnixNano":"6","attributes":[{"key":"k","value":{"boolValue":true}}]}],
                "links":[{"traceId":"0102030405060708090a0b0c0d0e0f11","spanId":"0102030405060709"}]}]}]}]}"#;
        let batches = decoded(Signal::Traces, request);
        let row = round_trip(Destination::Traces, batches[0].rows());
        let column = |name: &str| row.column_by_name(name).unwrap();
        assert_eq!(column("TraceId").as_string::<i32>().value(0), "0102030405060708090a0b0c0d0e0f10");
        assert_eq!(column("ParentSpanId").as_string::<i32>().value(0), "");
        assert_eq!(column("Duration").as_primitive::<Int64Type>().value(0), 7);
        assert_eq!(text(column("ResourceAttributes").as_map()), ["a=7 service.name=shop "]);
        let names = column("Events.Name").as_list::<i32>().value(0);
        assert_eq!(names.as_string::<i32>().value(0), "e1");
        let attributes = column("Events.Attributes").as_list::<i32>().value(0);
        assert_eq!(text(attributes.as_map()), ["k=true "]);
        let links = column("Links.SpanId").as_list::<i32>().value(0);
        assert_eq!(links.as_string::<i32>().value(0), "0102030405060709");
    }

    #[test]
    fn numbers_part_into_gauges_and_sums() {
        let request = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
            {"name":"g","gauge":{"dataPoints":[{"asDouble":1.5,"timeUnixNano":"1"},{"asInt":"3","timeUnixNano":"2"}]}},
            {"name":"s","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{"asInt":"9","timeUnixNano":"3"}]}}
        ]}]}]}"#;
        let batches = decoded(Signal::Metrics, request);
        let rows = batches.iter().find(|batch| batch.table() == Table::Metrics).unwrap().rows();
        let gauges = round_trip(Destination::Gauge, rows);
        assert_eq!(gauges.column_by_name("Value").unwrap().as_primitive::<Float64Type>().values(), &[1.5, 3.0]);
        let sums = round_trip(Destination::Sum, rows);
        assert_eq!(sums.column_by_name("AggregationTemporality").unwrap().as_primitive::<Int32Type>().values(), &[2]);
        assert_eq!(sums.column_by_name("ValueInt").unwrap().as_primitive::<Int64Type>().values(), &[9]);
    }
}
