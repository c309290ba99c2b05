//! Rows as they rest in the log and pass through compaction: where a record comes from is the same for all records of a
//! scope, so the columns from `resource` on are kept once for each run of rows that share them.
//!
//! In a frame they are one column `origin`, a run-end encoded struct; everything else is as in [`Table::schema`].

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, RunArray, StringArray, StructArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use model::{Batch, Table};

/// The first of the columns that say where a record comes from; they end every table.
const ORIGIN_FIRST: &str = "resource";
const ORIGIN: &str = "origin";

/// Rows of one table, as many values of a column of `origins` as there are runs.
#[derive(Debug)]
pub(crate) struct Packed {
    table: Table,
    /// Columns before [`ORIGIN_FIRST`], in their places.
    own: Vec<ArrayRef>,
    /// The others.
    origins: Vec<ArrayRef>,
    run_of_row: UInt32Array,
}

/// Rows of a request that wait to be written.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) table: Table,
    pub(crate) rows: usize,
    /// Columns before [`ORIGIN_FIRST`].
    own: Vec<ArrayRef>,
    /// The others, of the first row of each run.
    origins: Vec<ArrayRef>,
    run_starts: UInt32Array,
    /// What they take here, and what they took unpacked.
    pub(crate) bytes: usize,
    pub(crate) unpacked_bytes: usize,
}

impl Rows {
    /// Best done by the thread that decoded the rows, which has them in its cache: every byte of them is compared.
    pub(crate) fn new(batch: Batch) -> Result<Rows, ArrowError> {
        let (table, rows) = (batch.table(), batch.into_rows());
        let (own, origins) = rows.columns().split_at(origin_first(table));
        let run_starts = UInt32Array::from(run_starts(origins, rows.num_rows()));
        let origins = origins.iter().map(|column| take(column, &run_starts, None)).collect::<Result<Vec<_>, _>>()?;
        let bytes = own.iter().chain(&origins).map(|column| column.get_array_memory_size()).sum();
        let (rows, own, unpacked_bytes) = (rows.num_rows(), own.to_vec(), rows.get_array_memory_size());
        Ok(Rows { table, rows, own, origins, run_starts, bytes, unpacked_bytes })
    }
}

/// Rows of requests in order, in the form they have in a frame.
pub(crate) fn pack(table: Table, requests: &[&Rows]) -> Result<RecordBatch, ArrowError> {
    let mut ends: Vec<i32> = Vec::new();
    let mut rows = 0;
    for request in requests {
        ends.extend(request.run_starts.values().iter().skip(1).map(|start| rows + *start as i32));
        rows += request.rows as i32;
        ends.push(rows);
    }
    let first = origin_first(table);
    let column = |index: usize| -> Result<ArrayRef, ArrowError> {
        let parts = requests.iter().map(|request| match index.checked_sub(first) {
            None => &request.own[index],
            Some(origin) => &request.origins[origin],
        });
        let parts: Vec<&ArrayRef> = parts.collect();
        match parts.as_slice() {
            [one] => Ok(Arc::clone(one)),
            many => model::concat_column(table, index, &many.iter().map(|part| part.as_ref()).collect::<Vec<_>>()),
        }
    };
    let mut columns = (0..table.columns().len()).map(column).collect::<Result<Vec<_>, _>>()?;
    let origins = StructArray::try_new(origin_fields(table), columns.split_off(first), None)?;
    columns.push(Arc::new(RunArray::<Int32Type>::try_new(&Int32Array::from(ends), &origins)?));
    RecordBatch::try_new(schema(table), columns)
}

impl Packed {
    /// Of a batch as [`pack`] made it, or of plain rows of the table, which older frames have.
    pub(crate) fn new(table: Table, frame: &RecordBatch) -> Result<Packed, ArrowError> {
        let repacked;
        let frame = match frame.schema_ref().fields() == schema(table).fields() {
            true => frame,
            false => {
                let rows =
                    Batch::new(table, frame.clone()).map_err(|error| ArrowError::SchemaError(error.to_string()))?;
                repacked = pack(table, &[&Rows::new(rows)?])?;
                &repacked
            }
        };
        let (own, last) = frame.columns().split_at(origin_first(table));
        let runs = last.first().and_then(|origin| origin.as_run_opt::<Int32Type>());
        let runs = runs.ok_or_else(|| ArrowError::SchemaError("a frame without column origin".to_owned()))?;
        let mut run_of_row = Vec::with_capacity(frame.num_rows());
        for (run, end) in (0_u32..).zip(runs.run_ends().values()) {
            run_of_row.resize((*end as usize).min(frame.num_rows()), run);
        }
        let origins = runs.values().as_struct().columns().to_vec();
        Ok(Packed { table, own: own.to_vec(), origins, run_of_row: run_of_row.into() })
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.run_of_row.len()
    }

    pub(crate) fn run_of_row(&self, row: usize) -> usize {
        self.run_of_row.value(row) as usize
    }

    /// A column of the table, by its index: a value a row, or from [`origin_first`] on a value a run.
    pub(crate) fn column(&self, index: usize) -> &ArrayRef {
        match index.checked_sub(self.own.len()) {
            None => &self.own[index],
            Some(origin) => &self.origins[origin],
        }
    }

    /// Bytes of text of each run, which unpacking copies for each of its rows.
    pub(crate) fn run_bytes(&self) -> Vec<usize> {
        let runs = self.origins.first().map_or(0, |column| column.len());
        let mut bytes = vec![0; runs];
        for (run, bytes) in bytes.iter_mut().enumerate() {
            let of_column = |column: &ArrayRef| match (column.as_string_opt::<i32>(), column.as_map_opt()) {
                (Some(texts), _) => texts.value_length(run) as usize,
                (_, Some(maps)) => {
                    let entries = maps.value_offsets()[run] as usize..maps.value_offsets()[run + 1] as usize;
                    let texts =
                        [maps.keys(), maps.values()].into_iter().filter_map(|texts| texts.as_string_opt::<i32>());
                    texts.map(|texts| text_bytes(texts, &entries).len()).sum()
                }
                _ => 0,
            };
            *bytes = self.origins.iter().map(of_column).sum();
        }
        bytes
    }

    /// Every row with all its columns.
    pub(crate) fn unpack(&self) -> Result<Batch, ArrowError> {
        let origins = self.origins.iter().map(|column| take(column, &self.run_of_row, None));
        let columns = self.own.iter().cloned().map(Ok).chain(origins).collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatch::try_new(Arc::clone(self.table.schema()), columns)?;
        Batch::new(self.table, rows).map_err(|error| ArrowError::SchemaError(error.to_string()))
    }
}

/// Index of the first column that is kept once a run.
pub(crate) fn origin_first(table: Table) -> usize {
    table.schema().index_of(ORIGIN_FIRST).unwrap_or(table.columns().len())
}

fn origin_fields(table: Table) -> Fields {
    table.schema().fields()[origin_first(table)..].iter().cloned().collect()
}

fn schema(table: Table) -> SchemaRef {
    static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| {
        let schemas = Table::ALL.into_iter().map(|table| {
            let ends = Field::new("run_ends", DataType::Int32, false);
            let values = Field::new("values", DataType::Struct(origin_fields(table)), true);
            let origin = DataType::RunEndEncoded(Arc::new(ends), Arc::new(values));
            let own = table.schema().fields()[..origin_first(table)].iter().cloned();
            Arc::new(Schema::new(own.chain([Arc::new(Field::new(ORIGIN, origin, false))]).collect::<Fields>()))
        });
        schemas.collect()
    });
    Arc::clone(&SCHEMAS[table as usize])
}

/// The rows that differ from the one before in any of `columns`; the first is one of them.
fn run_starts(columns: &[ArrayRef], rows: usize) -> Vec<u32> {
    let repeats: Vec<Repeats<'_>> = columns.iter().map(repeats).collect();
    let starts = (0..rows).filter(|row| *row == 0 || !repeats.iter().all(|repeats| repeats(*row)));
    starts.map(|row| row as u32).collect()
}

/// Whether a row has the value of the row before it.
type Repeats<'a> = Box<dyn Fn(usize) -> bool + 'a>;

fn repeats(column: &ArrayRef) -> Repeats<'_> {
    let nulls = column.nulls();
    let same_null = move |row: usize| nulls.is_none_or(|nulls| nulls.is_null(row) == nulls.is_null(row - 1));
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Box::new(move |row| same_null(row) && same_texts(texts, row - 1..row, row..row + 1));
    }
    if let Some(labels) = column.as_dictionary_opt::<Int32Type>() {
        let keys = labels.keys().values();
        return Box::new(move |row| same_null(row) && keys[row] == keys[row - 1]);
    }
    if let Some(numbers) = column.as_primitive_opt::<UInt32Type>() {
        return Box::new(move |row| same_null(row) && numbers.value(row) == numbers.value(row - 1));
    }
    if let Some(maps) = column.as_map_opt()
        && let (Some(keys), Some(values)) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>())
    {
        let offsets = maps.value_offsets();
        let entries = move |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
        return Box::new(move |row| {
            let (before, here) = (entries(row - 1), entries(row));
            same_null(row) && same_texts(keys, before.clone(), here.clone()) && same_texts(values, before, here)
        });
    }
    // No column of today; a row of its own is always right.
    Box::new(|_| false)
}

fn same_texts(texts: &StringArray, a: Range<usize>, b: Range<usize>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (before, here) = (text_bytes(texts, &a), text_bytes(texts, &b));
    // Most are empty, and comparing nothing with nothing takes `memcmp` 80 ns where the addresses are not real ones.
    before.len() == here.len()
        && (here.is_empty() || before == here)
        && a.clone().zip(b.clone()).all(|(a, b)| texts.value_length(a) == texts.value_length(b))
        && texts.nulls().is_none_or(|nulls| a.zip(b).all(|(a, b)| nulls.is_null(a) == nulls.is_null(b)))
}

/// The bytes of neighbouring texts, one after the other.
fn text_bytes<'a>(texts: &'a StringArray, range: &Range<usize>) -> &'a [u8] {
    let offsets = texts.value_offsets();
    &texts.value_data()[offsets[range.start] as usize..offsets[range.end] as usize]
}

#[cfg(test)]
mod tests {
    use arrow::array::{MapBuilder, StringBuilder};
    use arrow::compute::concat_batches;

    use super::*;
    use crate::rows;

    #[test]
    fn packing_and_unpacking_changes_nothing() {
        for table in Table::ALL {
            let requests = [rows::table(table, &[(1, 1), (2, 2), (3, 7)]), rows::table(table, &[(4, 7)])];
            let whole = concat_batches(table.schema(), requests.iter().map(Batch::rows)).unwrap();
            let requests = requests.map(|rows| Rows::new(rows).unwrap());
            let frame = pack(table, &requests.each_ref()).unwrap();
            let unpacked = Packed::new(table, &frame).unwrap().unpack().unwrap();
            assert_eq!(rows::ids(unpacked.rows()), rows::ids(&whole), "{}", table.name());
            for (index, field) in table.schema().fields().iter().enumerate() {
                if !matches!(field.data_type(), DataType::Dictionary(_, _)) {
                    assert_eq!(unpacked.rows().column(index), whole.column(index), "{}", field.name());
                }
            }
            // What an older version wrote.
            let old = Packed::new(table, &whole).unwrap().unpack().unwrap();
            assert_eq!(rows::ids(old.rows()), rows::ids(&whole), "{}", table.name());
        }
    }

    #[test]
    fn what_neighbours_share_rests_once() {
        let request = rows::spans(&[(1, 5), (2, 10), (3, 15), (4, 20)]);
        let first = origin_first(Table::Spans);
        // Resources follow from the id here, as a client would not send them; scopes repeat every five ids.
        let shared = &request.rows().columns()[first + 1..];
        assert_eq!(run_starts(shared, 4), vec![0, 1, 2, 3]);
        let names: Vec<ArrayRef> =
            shared.iter().filter(|column| !matches!(column.data_type(), DataType::Map(_, _))).cloned().collect();
        assert_eq!(run_starts(&names, 4), [0]);
    }

    #[test]
    fn maps_are_the_same_when_every_entry_is() {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        let rows: [&[(&str, Option<&str>)]; 8] = [
            &[("a", Some("bc"))],
            &[("a", Some("bc"))],
            &[("ab", Some("c"))],
            &[],
            &[("x", Some(""))],
            &[("x", None)],
            &[("x", None)],
            &[("x", None), ("y", None)],
        ];
        for row in rows {
            for (key, value) in row {
                maps.keys().append_value(key);
                maps.values().append_option(*value);
            }
            maps.append(true).unwrap();
        }
        let maps: ArrayRef = Arc::new(maps.finish());
        assert_eq!(run_starts(&[maps], 8), [0, 2, 3, 4, 5, 7]);
    }
}
