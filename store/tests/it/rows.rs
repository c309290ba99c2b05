//! Rows for tests: any table, built from its schema, so that a new column needs nothing here.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, StructArray, TimestampNanosecondArray,
    UInt32Array, UInt64Array, cast::AsArray, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type};
use model::{Batch, Table};

/// Spans of (time, id). The id is the span id; the trace id, service and name follow from it.
pub(crate) fn spans(rows: &[(i64, u64)]) -> Batch {
    table(Table::Spans, rows)
}

/// Rows of any table. The id is in `attributes['id']`, and in the ids of those tables that have some.
pub(crate) fn table(table: Table, rows: &[(i64, u64)]) -> Batch {
    let fields = table.schema().fields().iter();
    let columns = fields.map(|field| column(field.name(), field.data_type(), rows)).collect();
    let rows = RecordBatch::try_new(table.schema().clone(), columns).unwrap();
    Batch::new(table, rows).unwrap()
}

/// Rows with these in column `attributes` after the id, by number of the row.
pub(crate) fn with_attributes(rows: Batch, attributes: impl Fn(usize) -> Vec<(String, Option<String>)>) -> Batch {
    let table = rows.table();
    let numbers = ids(rows.rows());
    let index = table.schema().index_of("attributes").unwrap();
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for (row, id) in numbers.iter().enumerate() {
        for (key, value) in [("id".to_owned(), Some(id.to_string()))].into_iter().chain(attributes(row)) {
            maps.keys().append_value(key);
            maps.values().append_option(value);
        }
        maps.append(true).unwrap();
    }
    let mut columns = rows.into_rows().columns().to_vec();
    columns[index] = Arc::new(maps.finish());
    Batch::new(table, RecordBatch::try_new(table.schema().clone(), columns).unwrap()).unwrap()
}

fn column(name: &str, data_type: &DataType, rows: &[(i64, u64)]) -> ArrayRef {
    let count = rows.len();
    match data_type {
        DataType::Timestamp(_, _) => {
            let times = TimestampNanosecondArray::from_iter_values(rows.iter().map(|(time, _)| *time));
            Arc::new(times.with_timezone("UTC"))
        }
        DataType::Dictionary(_, _) => {
            let labels: Vec<String> = rows.iter().map(|(_, id)| format!("{name}-{}", id % 5)).collect();
            Arc::new(labels.iter().map(String::as_str).collect::<arrow::array::DictionaryArray<Int32Type>>())
        }
        DataType::FixedSizeBinary(bytes) => {
            let ids = rows.iter().map(|(_, id)| {
                let id = if name == "trace_id" { id / 10 } else { *id };
                let mut padded = vec![0; *bytes as usize - 8];
                padded.extend(id.to_be_bytes());
                padded
            });
            Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap())
        }
        DataType::Map(entries, _) => {
            let values: Vec<String> = rows.iter().map(|(_, id)| id.to_string()).collect();
            let keys: ArrayRef = Arc::new(StringArray::from(vec!["id"; count]));
            let DataType::Struct(fields) = entries.data_type() else { panic!("{entries}") };
            let pairs = StructArray::new(fields.clone(), vec![keys, Arc::new(StringArray::from(values))], None);
            Arc::new(MapArray::new(entries.clone(), OffsetBuffer::from_repeated_length(1, count), pairs, None, false))
        }
        DataType::List(item) => {
            let nothing = new_empty_array(item.data_type());
            Arc::new(ListArray::new(item.clone(), OffsetBuffer::new_zeroed(count), nothing, None))
        }
        DataType::Utf8 => Arc::new(StringArray::from(vec![""; count])),
        DataType::Boolean => Arc::new(BooleanArray::from(vec![false; count])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![0; count])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![0; count])),
        DataType::UInt32 => Arc::new(UInt32Array::from(vec![0; count])),
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![0; count])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![0.0; count])),
        other => panic!("{name}: {other}"),
    }
}

/// The ids of rows, in order.
pub(crate) fn ids(rows: &RecordBatch) -> Vec<u64> {
    let attributes = rows.column_by_name("attributes").unwrap().as_map();
    let values = attributes.values().as_string::<i32>();
    let offsets = attributes.value_offsets();
    (0..rows.num_rows()).map(|row| values.value(offsets[row] as usize).parse().unwrap()).collect()
}

/// All rows of a snapshot.
pub(crate) fn read(snapshot: &super::Snapshot) -> Vec<RecordBatch> {
    let mut all: Vec<RecordBatch> = snapshot.hot.to_vec();
    for file in snapshot.files.iter() {
        let opened = std::fs::File::open(&file.path).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(opened).unwrap();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.rows);
        all.extend(batches);
    }
    all
}

/// The ids of all rows of a snapshot, sorted: an id twice is a row seen twice.
pub(crate) fn ids_of(snapshot: &super::Snapshot) -> Vec<u64> {
    let mut all: Vec<u64> = read(snapshot).iter().flat_map(ids).collect();
    all.sort_unstable();
    all
}
