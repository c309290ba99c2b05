//! Packed rows of many frames in the order of cold files, handed out a batch at a time.
//!
//! Labels get their rank among all labels of the column first, so that a sort compares numbers, and a batch shares one
//! dictionary with the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use model::Table;

use crate::order::{BATCH_ROWS, shortened};
use crate::packed::{Packed, origin_first};

/// Rows of a batch take about this at most: unpacked, a large resource is there once a row.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A row: where it is, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    key: u128,
    pub(crate) time: i64,
    source: u32,
    row: u32,
}

pub(crate) struct Sorting<'a> {
    table: Table,
    sources: &'a [Packed],
    /// By column of the table; `None` for a column that is no label.
    labels: Vec<Option<Labels>>,
    /// Bytes of each run of each source.
    run_bytes: Vec<Vec<usize>>,
}

impl<'a> Sorting<'a> {
    pub(crate) fn new(table: Table, sources: &'a [Packed]) -> Result<Sorting<'a>, ArrowError> {
        let labels = (0..table.columns().len()).map(|column| {
            let is_label = matches!(table.schema().field(column).data_type(), DataType::Dictionary(_, _));
            is_label.then(|| Labels::of(sources.iter().map(|source| source.column(column)))).transpose()
        });
        let labels = labels.collect::<Result<_, _>>()?;
        let run_bytes = sources.iter().map(Packed::run_bytes).collect();
        Ok(Sorting { table, sources, labels, run_bytes })
    }

    /// Every row in the order received.
    pub(crate) fn places(&self) -> Result<Vec<Place>, ArrowError> {
        let schema = self.table.schema();
        let (mut ranked, mut time) = (Vec::new(), 0);
        for name in self.table.sort_columns() {
            let column = schema.index_of(name)?;
            match &self.labels[column] {
                Some(labels) => ranked.push((column, labels)),
                None => time = column,
            }
        }
        let mut places = Vec::with_capacity(self.sources.iter().map(Packed::num_rows).sum());
        for (index, source) in self.sources.iter().enumerate() {
            let times = source.column(time).as_primitive_opt::<TimestampNanosecondType>();
            let times = times.ok_or_else(|| ArrowError::SchemaError("rows are sorted by time last".to_owned()))?;
            for (row, time) in times.values().iter().enumerate() {
                let ranks = ranked.iter().map(|(column, labels)| labels.rank(index, keys(source.column(*column)), row));
                // As unsigned numbers, with the order they have as signed ones.
                let time_key = u128::from((*time as u64) ^ (1 << 63));
                let key = ranks.fold(0, |key, rank| key << 32 | u128::from(rank)) << 64 | time_key;
                places.push(Place { key, time: *time, source: index as u32, row: row as u32 });
            }
        }
        Ok(places)
    }

    pub(crate) fn sort(&self, places: &mut [Place]) {
        places.sort_unstable_by_key(|place| (place.key, place.source, place.row));
    }

    /// How many of `places` make the next batch; at least one.
    pub(crate) fn batch_rows(&self, places: &[Place]) -> usize {
        let mut bytes = 0;
        let fitting = places.iter().take(BATCH_ROWS).take_while(|place| {
            bytes += self.run_bytes[place.source as usize][self.run(place)];
            bytes <= BATCH_BYTES_MAX
        });
        fitting.count().max(1)
    }

    pub(crate) fn batch(&self, places: &[Place]) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<_> = places.iter().map(|place| (place.source as usize, place.row as usize)).collect();
        let runs: Vec<_> = places.iter().map(|place| (place.source as usize, self.run(place))).collect();
        let first = origin_first(self.table);
        let columns = self.labels.iter().enumerate().map(|(column, labels)| {
            let places = if column < first { &rows } else { &runs };
            let sources: Vec<&dyn Array> = self.sources.iter().map(|source| source.column(column).as_ref()).collect();
            match labels {
                Some(labels) => labels.gather(&sources, places),
                None => interleave(&sources, places),
            }
        });
        RecordBatch::try_new(Arc::clone(self.table.schema()), columns.collect::<Result<_, _>>()?)
    }

    fn run(&self, place: &Place) -> usize {
        self.sources[place.source as usize].run_of_row(place.row as usize)
    }
}

fn keys(column: &dyn Array) -> &Int32Array {
    column.as_dictionary::<Int32Type>().keys()
}

/// The labels of one column of all sources, sorted, each once.
struct Labels {
    values: ArrayRef,
    /// By source and by key of its dictionary, the place in `values`.
    places: Vec<Vec<i32>>,
    /// By place in `values`. Labels that only differ beyond what counts of them share one.
    ranks: Vec<u32>,
}

impl Labels {
    fn of<'c>(columns: impl Iterator<Item = &'c ArrayRef> + Clone) -> Result<Labels, ArrowError> {
        let wrong = || ArrowError::SchemaError("labels are text".to_owned());
        let texts = columns.map(|column| column.as_dictionary_opt::<Int32Type>()?.values().as_string_opt::<i32>());
        let texts: Vec<&StringArray> = texts.collect::<Option<_>>().ok_or_else(wrong)?;
        let distinct: BTreeSet<&str> = texts.iter().flat_map(|texts| texts.iter().flatten()).collect();
        let known: HashMap<&str, i32> = distinct.iter().copied().zip(0..).collect();
        let place = |text: Option<&str>| text.and_then(|text| known.get(text).copied()).unwrap_or(-1);
        let places = texts.iter().map(|texts| texts.iter().map(place).collect()).collect();
        let mut ranks = Vec::with_capacity(distinct.len());
        let mut before = None;
        for (text, place) in distinct.iter().zip(1..) {
            let counts = shortened(text);
            let rank = match (before, ranks.last()) {
                (Some(before), Some(rank)) if before == counts => *rank,
                _ => place,
            };
            ranks.push(rank);
            before = Some(counts);
        }
        Ok(Labels { values: Arc::new(StringArray::from_iter_values(distinct)), places, ranks })
    }

    fn place(&self, source: usize, keys: &Int32Array, row: usize) -> Option<i32> {
        let place = keys.is_valid(row).then(|| self.places[source][keys.value(row) as usize])?;
        (place >= 0).then_some(place)
    }

    /// From 1 on; a row without a label comes first.
    fn rank(&self, source: usize, keys: &Int32Array, row: usize) -> u32 {
        self.place(source, keys, row).map_or(0, |place| self.ranks[place as usize])
    }

    fn gather(&self, sources: &[&dyn Array], places: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        let keys: Vec<&Int32Array> = sources.iter().map(|source| keys(*source)).collect();
        let gathered = places.iter().map(|(source, row)| self.place(*source, keys[*source], *row));
        Ok(Arc::new(DictionaryArray::try_new(gathered.collect::<Int32Array>(), Arc::clone(&self.values))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;
    use crate::packed::{Rows, pack};
    use crate::rows;

    /// Frames of requests of rows.
    fn frames(table: Table, requests: &[&[(i64, u64)]]) -> Vec<Packed> {
        let frame = |rows: &&[(i64, u64)]| {
            let rows = rows::table(table, rows);
            Packed::new(table, &pack(table, &[&Rows::new(rows).unwrap()]).unwrap()).unwrap()
        };
        requests.iter().map(frame).collect()
    }

    #[test]
    fn rows_of_all_frames_come_sorted_and_whole() {
        for table in Table::ALL {
            let frames = frames(table, &[&[(9, 1), (2, 2), (i64::MIN, 3)], &[(-1, 6), (1, 1), (8, 1)], &[(0, 5)]]);
            let sorting = Sorting::new(table, &frames).unwrap();
            let mut places = sorting.places().unwrap();
            sorting.sort(&mut places);
            let rows = sorting.batch(&places).unwrap();
            let mut ids = rows::ids(&rows);
            ids.sort_unstable();
            assert_eq!(ids, [1, 1, 1, 2, 3, 5, 6], "{}", table.name());
            let keys = Order::of(table).unwrap().keys(&rows).unwrap();
            assert!(keys.iter().is_sorted(), "{}", table.name());
        }
    }

    #[test]
    fn a_large_resource_makes_small_batches() {
        let frames = frames(Table::Logs, &[&[(1, 1), (2, 2), (3, 3)]]);
        let mut sorting = Sorting::new(Table::Logs, &frames).unwrap();
        let places = sorting.places().unwrap();
        assert_eq!(sorting.batch_rows(&places), 3);
        sorting.run_bytes = vec![vec![BATCH_BYTES_MAX / 2 + 1, 1, 2 * BATCH_BYTES_MAX]];
        assert_eq!([sorting.batch_rows(&places), sorting.batch_rows(&places[2..])], [2, 1]);
    }
}
