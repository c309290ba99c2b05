//! Typed views of columns by name. A [`crate::Batch`] has its table's schema, so a column that is missing or of another type is a
//! bug of ours and panics.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, ListArray,
};
use arrow::array::{PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{Fields, Int32Type, TimestampNanosecondType};

use crate::attributes::{Entries, Entry};
use crate::value::{self, letter};
use crate::wire::Writer;

/// The columns of a batch, or of the structs in a list.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    fields: &'a Fields,
    columns: &'a [ArrayRef],
}

impl<'a> Rows<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Rows<'a> {
        Rows { fields: batch.schema_ref().fields(), columns: batch.columns() }
    }

    fn column(self, name: &str) -> &'a ArrayRef {
        let (index, _) = self.fields.find(name).expect("the column is in schema.rs");
        &self.columns[index]
    }

    pub(super) fn text(self, name: &str) -> &'a StringArray {
        self.column(name).as_string()
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(self, name: &str) -> &'a PrimitiveArray<T> {
        self.column(name).as_primitive()
    }

    pub(super) fn times(self, name: &str) -> Times<'a> {
        Times(self.numbers(name))
    }

    pub(super) fn booleans(self, name: &str) -> &'a BooleanArray {
        self.column(name).as_boolean()
    }

    pub(super) fn labels(self, name: &str) -> Labels<'a> {
        let dictionary = self.column(name).as_dictionary::<Int32Type>();
        Labels { keys: dictionary.keys(), values: dictionary.values().as_string() }
    }

    pub(super) fn ids(self, name: &str) -> Ids<'a> {
        Ids(self.column(name).as_fixed_size_binary())
    }

    pub(super) fn attributes(self, name: &str, types: &str) -> Attributes<'a> {
        Attributes(Entries::of(self.column(name), self.column(types)))
    }

    pub(super) fn list(self, name: &str) -> &'a ListArray {
        self.column(name).as_list()
    }
}

/// The structs of a list, which [`items`] gives the bounds of.
pub(super) fn structs(list: &ListArray) -> Rows<'_> {
    let structs = list.values().as_struct();
    Rows { fields: structs.fields(), columns: structs.columns() }
}

/// Where the items of `row` are in the values of the list.
pub(super) fn items(list: &ListArray, row: usize) -> Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

#[derive(Clone, Copy)]
pub(super) struct Times<'a>(&'a PrimitiveArray<TimestampNanosecondType>);

impl Times<'_> {
    pub(super) fn get(self, row: usize) -> u64 {
        self.0.value(row) as u64
    }
}

#[derive(Clone, Copy)]
pub(super) struct Labels<'a> {
    keys: &'a Int32Array,
    values: &'a StringArray,
}

impl<'a> Labels<'a> {
    /// Null reads as ''.
    pub(super) fn get(self, row: usize) -> &'a str {
        if self.keys.is_null(row) { "" } else { self.values.value(self.keys.value(row) as usize) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Ids<'a>(&'a FixedSizeBinaryArray);

impl Ids<'_> {
    /// Null and all zero are absent.
    pub(super) fn write(self, row: usize, number: u32, out: &mut Writer) {
        let id = self.0.value(row);
        if self.0.is_valid(row) && id.iter().any(|byte| *byte != 0) {
            out.bytes(number, id);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(Entries<'a>);

impl Attributes<'_> {
    /// The attributes of `row`, each a `KeyValue` in field `number`.
    pub(super) fn write(self, row: usize, number: u32, out: &mut Writer) {
        for Entry { key, text, letter } in self.0.row(row) {
            out.message(number, |entry| {
                entry.nonempty_bytes(1, key.as_bytes());
                if letter != letter::ABSENT {
                    entry.message(2, |value| value::write_wire(letter, text, value));
                }
            });
        }
    }
}

/// A double with presence.
pub(super) fn write_optional_double(
    column: &PrimitiveArray<arrow::datatypes::Float64Type>,
    row: usize,
    number: u32,
    out: &mut Writer,
) {
    if column.is_valid(row) {
        out.double(number, column.value(row));
    }
}
