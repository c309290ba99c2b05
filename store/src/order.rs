//! The order of rows in cold files, as bytes that compare.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::kernels::substring::substring_by_char;
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use model::Table;

/// Rows per batch written to Parquet.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Characters of a label that count: a key holds the label itself, not its place in a dictionary, and a client may repeat
/// one of a megabyte in every row. Rows whose labels differ only beyond are in the order of `time`.
const LABEL_CHARS_MAX: u64 = 256;

pub(crate) struct Order {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Order {
    pub(crate) fn of(table: Table) -> Result<Order, ArrowError> {
        let schema = table.schema();
        let names = table.sort_columns().iter();
        let columns = names.map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
        Ok(Order { converter: RowConverter::new(fields.collect())?, columns })
    }

    /// One key per row; keys of different batches compare with each other.
    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns = self.columns.iter().map(|column| shortened_labels(rows.column(*column)));
        self.converter.convert_columns(&columns.collect::<Result<Vec<_>, _>>()?)
    }
}

/// What counts of a label.
pub(crate) fn shortened(label: &str) -> &str {
    match label.char_indices().nth(LABEL_CHARS_MAX as usize) {
        Some((end, _)) => &label[..end],
        None => label,
    }
}

/// Labels cut to what counts of them; any other column as it is.
fn shortened_labels(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(labels) = column.as_dictionary_opt::<Int32Type>() else { return Ok(Arc::clone(column)) };
    let Some(values) = labels.values().as_string_opt::<i32>() else { return Ok(Arc::clone(column)) };
    Ok(Arc::new(labels.with_values(Arc::new(substring_by_char(values, 0, Some(LABEL_CHARS_MAX))?))))
}

/// Column `time` of any table, nanoseconds.
pub(crate) fn times(rows: &RecordBatch) -> Result<&[i64], ArrowError> {
    let column =
        rows.column_by_name("time").and_then(|column| column.as_any().downcast_ref::<TimestampNanosecondArray>());
    let times = column.ok_or_else(|| ArrowError::SchemaError("a table without column time".to_owned()))?;
    Ok(times.values())
}

#[cfg(test)]
mod tests {
    use arrow::array::DictionaryArray;

    use super::*;

    #[test]
    fn a_key_takes_the_start_of_a_label() {
        let label = |end: &str| format!("{}{end}", "é".repeat(LABEL_CHARS_MAX as usize));
        let (long, longer) = (label("b"), label("a").repeat(1000));
        let labels: DictionaryArray<Int32Type> = [Some("z"), None, Some(&long), Some(&longer)].into_iter().collect();
        let converter = RowConverter::new(vec![SortField::new(labels.data_type().clone())]).unwrap();
        let keys = converter.convert_columns(&[shortened_labels(&(Arc::new(labels) as ArrayRef)).unwrap()]).unwrap();
        assert!(keys.row(1) < keys.row(0) && keys.row(0) < keys.row(2));
        assert_eq!(keys.row(2), keys.row(3));
        assert_eq!([shortened(&longer), shortened("é")], [shortened(&long), "é"]);
        assert!(keys.size() < 4096, "{}", keys.size());
    }
}
