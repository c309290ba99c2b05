//! Rows of one table with the proof that they have its schema.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, new_empty_array};
use arrow::datatypes::{Fields, Int32Type};
use arrow::error::ArrowError;

use crate::Table;
use crate::columns::Labels;

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
        let rows = RecordBatch::try_new(Arc::clone(wanted), rows.columns().to_vec())
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

fn difference(found: &Fields, wanted: &Fields) -> String {
    match wanted.iter().zip(found).find(|(wanted, found)| wanted != found) {
        Some((wanted, found)) => format!("expected {wanted}, found {found}"),
        None => format!("expected {} columns, found {}", wanted.len(), found.len()),
    }
}

/// One batch of all rows in order. Dictionaries are merged, so each label is kept once, and only if a row has it.
pub fn concat(table: Table, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let columns = (0..table.columns().len()).map(|index| {
        let parts: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.columns().get(index).map(AsRef::as_ref))
            .collect::<Option<_>>()
            .ok_or_else(|| ArrowError::SchemaError(format!("a batch lacks columns of table {}", table.name())))?;
        concat_column(table, index, &parts)
    });
    RecordBatch::try_new(Arc::clone(table.schema()), columns.collect::<Result<_, _>>()?)
}

/// One column of `table` of all parts in order, as [`concat()`] makes it.
pub fn concat_column(table: Table, index: usize, parts: &[&dyn Array]) -> Result<ArrayRef, ArrowError> {
    if parts.is_empty() {
        return Ok(new_empty_array(table.schema().field(index).data_type()));
    }
    let dictionaries: Option<Vec<_>> = parts.iter().map(|part| part.as_dictionary_opt::<Int32Type>()).collect();
    match dictionaries {
        Some(dictionaries) => concat_labels(&dictionaries),
        None => arrow::compute::concat(parts),
    }
}

fn concat_labels(parts: &[&DictionaryArray<Int32Type>]) -> Result<ArrayRef, ArrowError> {
    let mut labels = Labels::default();
    for part in parts {
        let values = part
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| ArrowError::SchemaError("labels are text".to_owned()))?;
        for key in part.keys() {
            match key.and_then(|key| values.is_valid(key as usize).then(|| values.value(key as usize))) {
                Some(label) => labels.push(label.as_bytes()),
                None => labels.push_null(),
            }
        }
    }
    Ok(Arc::new(labels.finish()))
}
