//! The order of rows in cold files, as bytes that compare.

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use model::Table;

/// Rows per batch written to Parquet.
pub(crate) const BATCH_ROWS: usize = 8192;

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
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| rows.column(*column).clone()).collect();
        self.converter.convert_columns(&columns)
    }
}

/// Column `time` of any table, nanoseconds.
pub(crate) fn times(rows: &RecordBatch) -> Result<&[i64], ArrowError> {
    let column =
        rows.column_by_name("time").and_then(|column| column.as_any().downcast_ref::<TimestampNanosecondArray>());
    let times = column.ok_or_else(|| ArrowError::SchemaError("a table without column time".to_owned()))?;
    Ok(times.values())
}
