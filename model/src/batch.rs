//! Rows of one table with the proof that they have its schema.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::Table;

/// Rows of one table. Invariant: `rows.schema() == table.schema()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    table: Table,
    rows: RecordBatch,
}

/// These rows do not have the columns of that table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("rows do not fit table {}: {difference}", table.name())]
pub struct SchemaMismatch {
    pub table: Table,
    /// The first difference, in words.
    pub difference: String,
}

impl Batch {
    /// Metadata of the schema (files carry some) is dropped; names, types and nullability must agree.
    pub fn new(table: Table, rows: RecordBatch) -> Result<Batch, SchemaMismatch> {
        let (found, wanted) = (rows.schema(), table.schema());
        if found.fields() != wanted.fields() {
            let difference = difference(found.fields(), wanted.fields());
            return Err(SchemaMismatch { table, difference });
        }
        let rows = rows
            .with_schema(Arc::clone(wanted))
            .map_err(|error| SchemaMismatch { table, difference: error.to_string() })?;
        Ok(Batch { table, rows })
    }

    pub fn table(&self) -> Table {
        self.table
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn into_rows(self) -> RecordBatch {
        self.rows
    }

    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }
}

fn difference(found: &arrow::datatypes::Fields, wanted: &arrow::datatypes::Fields) -> String {
    match wanted.iter().zip(found).find(|(wanted, found)| wanted != found) {
        Some((wanted, found)) => format!("expected {wanted}, found {found}"),
        None => format!("expected {} columns, found {}", wanted.len(), found.len()),
    }
}

/// One batch of all rows in order. Dictionaries are merged, so each label is kept once.
pub fn concat(table: Table, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let _ = (table, batches);
    todo!()
}
