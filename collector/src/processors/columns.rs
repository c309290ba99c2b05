//! Columns of a batch by name, the runs of rows in them that are alike, and batches with other columns or fewer rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, StringDictionaryBuilder, UInt32Array,
};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::Int32Type;
use model::{Batch, Entries, Table};
use serde::Deserialize;

use super::TooLarge;

const SERVICE_NAME: &str = "service.name";

/// Whose attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    #[default]
    Record,
    Scope,
    Resource,
}

impl Place {
    /// Nearest to the record first.
    pub(super) const ALL: [Place; 3] = [Place::Record, Place::Scope, Place::Resource];

    /// The column of attributes and that of their types.
    pub(super) fn columns(self) -> [&'static str; 2] {
        match self {
            Place::Record => ["attributes", "attribute_types"],
            Place::Scope => ["scope_attributes", "scope_attribute_types"],
            Place::Resource => ["resource", "resource_types"],
        }
    }

    /// Whether it is the column of attributes that the records of a scope share.
    pub(super) fn is_origin(name: &str) -> bool {
        [Place::Scope, Place::Resource].into_iter().any(|place| place.columns()[0] == name)
    }

    pub(super) fn entries(self, rows: &RecordBatch) -> Entries<'_> {
        let [attributes, types] = self.columns().map(|name| column(rows, name));
        Entries::of(attributes, types)
    }
}

/// Rows that follow one another and are alike: all records of a scope have the same resource and scope, which are worked on once.
pub(super) struct Runs {
    starts: UInt32Array,
    of_row: UInt32Array,
}

impl Runs {
    /// Of equal attributes, as far as `alike` says the same of a row and the one before it.
    pub(super) fn of(entries: Entries<'_>, alike: impl Fn(usize) -> bool) -> Runs {
        let (mut starts, mut of_row) = (Vec::new(), Vec::with_capacity(entries.rows()));
        for row in 0..entries.rows() {
            if row == 0 || !alike(row) || !entries.repeats(row) {
                starts.push(row as u32);
            }
            of_row.push(starts.len() as u32 - 1);
        }
        Runs { starts: starts.into(), of_row: of_row.into() }
    }

    /// The first row of each run.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> {
        self.starts.values().iter().map(|row| *row as usize)
    }

    /// The run of each row.
    pub(super) fn of_row(&self) -> impl Iterator<Item = usize> {
        self.of_row.values().iter().map(|run| *run as usize)
    }

    /// A value a run.
    pub(super) fn first(&self, column: &ArrayRef) -> ArrayRef {
        take(column, &self.starts, None).expect("rows of the column")
    }

    /// The value of its run for each row.
    pub(super) fn spread(&self, column: &ArrayRef) -> ArrayRef {
        take(column, &self.of_row, None).expect("a value a run")
    }

    /// The same for attributes and their types, which may have grown.
    pub(super) fn spread_attributes(&self, attributes: [&ArrayRef; 2]) -> Result<[ArrayRef; 2], TooLarge> {
        let entries = Entries::of(attributes[0], attributes[1]);
        let bytes = |run| entries.row(run).map(|entry| entry.key.len() + entry.text.len()).sum();
        let bytes: Vec<usize> = (0..entries.rows()).map(bytes).collect();
        TooLarge::check(self.of_row().map(|run| bytes[run]).sum())?;
        Ok(attributes.map(|column| self.spread(column)))
    }
}

/// The column that says what a record is about.
pub(super) fn name_column(table: Table) -> &'static str {
    match table {
        Table::Logs => "event_name",
        _ => "name",
    }
}

pub(super) fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    rows.column_by_name(name).expect("the model's schema has this column")
}

pub(super) fn labels<'a>(rows: &'a RecordBatch, name: &str) -> &'a DictionaryArray<Int32Type> {
    column(rows, name).as_dictionary()
}

/// What `of` makes of the label of each row; it is asked once a label.
pub(super) fn of_labels<T: Copy>(labels: &DictionaryArray<Int32Type>, of: impl FnMut(&str) -> T, null: T) -> Vec<T> {
    let known: Vec<T> = labels.values().as_string::<i32>().iter().map(Option::unwrap_or_default).map(of).collect();
    labels.keys().iter().map(|key| key.map_or(null, |key| known[key as usize])).collect()
}

/// The batch with these columns instead of its own. They have its types, so it stays a batch of its table.
pub(super) fn with_columns(batch: Batch, columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> Batch {
    let table = batch.table();
    let mut all = batch.into_rows().columns().to_vec();
    for (name, column) in columns {
        let index = table.schema().index_of(name).expect("the model's schema has this column");
        all[index] = column;
    }
    of_columns(table, all)
}

pub(super) fn of_columns(table: Table, columns: Vec<ArrayRef>) -> Batch {
    let rows = RecordBatch::try_new(Arc::clone(table.schema()), columns).expect("columns of the table's own types");
    Batch::new(table, rows).expect("the schema is the table's own")
}

/// The rows that are marked. Of those that leave no label stays behind in a dictionary.
pub(super) fn kept(batch: &Batch, marks: Vec<bool>) -> Batch {
    let table = batch.table();
    let rows = filter_record_batch(batch.rows(), &BooleanArray::from(marks)).expect("a mark a row");
    let rows = model::concat(table, &[rows]).expect("rows of one table");
    Batch::new(table, rows).expect("the schema is the table's own")
}

/// The column `service` of these resources.
pub(super) fn services(resources: Entries<'_>) -> ArrayRef {
    let mut services = StringDictionaryBuilder::<Int32Type>::new();
    for row in 0..resources.rows() {
        services.append_value(resources.get(row, SERVICE_NAME).map_or("", |entry| entry.text));
    }
    Arc::new(services.finish())
}

/// Whether masking it would leave a record without its service.
pub(super) fn is_service_name(key: &str) -> bool {
    key == SERVICE_NAME
}
