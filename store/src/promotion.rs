//! Frequent attributes have columns of their own, beside the map they stay in: a question about one of them reads a column with
//! statistics instead of a map.
//!
//! Which ones is chosen for each file from its rows. The columns are called `promoted_01` and so on in every file, so that a
//! reader of many files finds one schema; which attribute is in one is said by the metadata of its Arrow field and by the
//! manifest, spelled as in SQL: `attributes['http.route']`. An attribute stays in the map because a reader that knows nothing of
//! this must not lose it, because its place among the others is part of what was sent, and because that costs little: the columns
//! together take a few bytes a row, for values that rarely repeat get none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use model::Table;

use crate::packed::{Packed, origin_first};

/// The maps whose keys are promoted, and how many of each: those of a resource are few and filtered by less often.
const MAPS: [(&str, usize); 2] = [("attributes", 12), ("resource", 4)];
/// Columns of a file for promoted attributes, used or not. Each is work for whoever writes, merges or opens the file.
pub(crate) const SLOTS: usize = MAPS[0].1 + MAPS[1].1;
/// What names the attribute in the metadata of a column's Arrow field.
pub const PROMOTED_KEY: &str = "faultline.attribute";

/// Rows looked at, and their attributes: an estimate within three percent, and a few milliseconds of work for a file.
const SAMPLE_ROWS: usize = 2048;
const SAMPLE_ENTRIES: usize = 64 << 10;
/// Percent of the rows that have an attribute for it to get a column, and to keep the one it had in the file before: what is
/// near the limit must not come and go.
const SHARE_MIN: usize = 6;
const SHARE_KEPT_MIN: usize = 3;
/// What one column, and all together, may take, estimated bytes a row: a hundred values in every row fit, identifiers do not.
const COLUMN_BYTES_MAX: f64 = 1.25;
const BYTES_MAX: f64 = 4.0;
/// A longer name or value is text for people, not to filter by, bytes.
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 256;
/// Every table has it as column `service`.
const SERVICE_NAME: &str = "resource['service.name']";
/// Of a distinct value what remains after compression.
const COMPRESSED: f64 = 0.5;

/// Which attribute is in which column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promotion {
    /// At most [`SLOTS`]; those of the first map first, in places of their own.
    slots: Vec<Option<Attribute>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Attribute {
    /// Index in [`MAPS`].
    map: usize,
    key: String,
}

impl Attribute {
    fn name(&self) -> String {
        format!("{}['{}']", MAPS[self.map].0, self.key)
    }

    fn parse(name: &str) -> Option<Attribute> {
        let (map, key) = name.strip_suffix("']")?.split_once("['")?;
        let map = MAPS.iter().position(|(known, _)| *known == map)?;
        Some(Attribute { map, key: key.to_owned() })
    }
}

impl Promotion {
    /// As the manifest names it.
    pub(crate) fn parse(names: &[String]) -> Promotion {
        Promotion { slots: names.iter().take(SLOTS).map(|name| Attribute::parse(name)).collect() }
    }

    /// The attribute of each column as in SQL; '' for an unused one.
    pub(crate) fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.as_ref().map_or_else(String::new, Attribute::name)).collect()
    }

    /// For rows of these frames. What had a column `before` keeps its place, so that merging copies it.
    pub(crate) fn choose(table: Table, frames: &[Packed], before: &Promotion) -> Promotion {
        let sample = Sample::of(table, frames);
        let mut chosen = Vec::new();
        let mut bytes = 0.0;
        for (map, (_, slots)) in MAPS.into_iter().enumerate() {
            let mut candidates: Vec<(&str, &Uses)> = sample.uses[map].iter().map(|(key, uses)| (*key, uses)).collect();
            candidates.sort_unstable_by_key(|(key, uses)| (std::cmp::Reverse(uses.rows), *key));
            let mut left = slots;
            for (key, uses) in candidates {
                let attribute = Attribute { map, key: key.to_owned() };
                if attribute.name() == SERVICE_NAME {
                    continue;
                }
                let share_min = if before.slot_of(&attribute).is_some() { SHARE_KEPT_MIN } else { SHARE_MIN };
                let column_bytes = uses.column_bytes(sample.rows);
                let fits = column_bytes <= COLUMN_BYTES_MAX && bytes + column_bytes <= BYTES_MAX;
                if left > 0 && uses.rows * 100 >= sample.rows * share_min && uses.are_plain && fits && is_plain(key) {
                    left -= 1;
                    bytes += column_bytes;
                    chosen.push(attribute);
                }
            }
        }
        Promotion::place(chosen, before)
    }

    fn place(chosen: Vec<Attribute>, before: &Promotion) -> Promotion {
        let mut slots = vec![None; SLOTS];
        let (kept, new): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|attribute| before.slot_of(attribute).is_some());
        for attribute in kept {
            if let Some(slot) = before.slot_of(&attribute) {
                slots[slot] = Some(attribute);
            }
        }
        for attribute in new {
            let first: usize = MAPS[..attribute.map].iter().map(|(_, slots)| slots).sum();
            let mut of_map = slots[first..first + MAPS[attribute.map].1].iter_mut();
            if let Some(free) = of_map.find(|slot| slot.is_none()) {
                *free = Some(attribute);
            }
        }
        Promotion { slots }
    }

    fn slot_of(&self, attribute: &Attribute) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref() == Some(attribute))
    }

    fn slot(&self, slot: usize) -> Option<&Attribute> {
        self.slots.get(slot)?.as_ref()
    }

    /// Whether the same attribute, or none, is in a column of both.
    pub(crate) fn agrees(&self, other: &Promotion, slot: usize) -> bool {
        self.slot(slot) == other.slot(slot)
    }

    pub(crate) fn is_used(&self, slot: usize) -> bool {
        self.slot(slot).is_some()
    }

    /// The columns of a file: those of its table, then ours.
    pub(crate) fn schema(&self, table: Table) -> SchemaRef {
        let promoted = (0..SLOTS).map(|slot| {
            let field = Field::new(column(slot), DataType::Utf8, true);
            let name = self.slot(slot).map(|attribute| (PROMOTED_KEY.to_owned(), attribute.name()));
            Arc::new(field.with_metadata(HashMap::from_iter(name)))
        });
        Arc::new(Schema::new(table.schema().fields().iter().cloned().chain(promoted).collect::<Vec<_>>()))
    }

    /// Our columns for `rows`, which have the maps they come from.
    pub(crate) fn columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let mut columns = vec![new_null_array(&DataType::Utf8, rows.num_rows()); SLOTS];
        for (index, (map, _)) in MAPS.into_iter().enumerate() {
            let wanted = self.slots.iter().enumerate();
            let wanted: Vec<(usize, &str)> = wanted
                .filter_map(|(slot, attribute)| Some((slot, attribute.as_ref()?)))
                .filter(|(_, attribute)| attribute.map == index)
                .map(|(slot, attribute)| (slot, attribute.key.as_str()))
                .collect();
            let Some(map) = rows.column_by_name(map).and_then(|column| column.as_map_opt()) else { continue };
            let keys: Vec<&str> = wanted.iter().map(|(_, key)| *key).collect();
            for ((slot, _), values) in wanted.iter().zip(values_of(map, &keys)) {
                columns[*slot] = values;
            }
        }
        columns
    }
}

/// The name of a column.
pub(crate) fn column(slot: usize) -> String {
    format!("promoted_{:02}", slot + 1)
}

/// Which column has this name.
pub(crate) fn slot(name: &str) -> Option<usize> {
    (0..SLOTS).find(|slot| column(*slot) == name)
}

/// The maps our columns come from.
pub(crate) fn maps() -> impl Iterator<Item = &'static str> {
    MAPS.into_iter().map(|(map, _)| map)
}

/// Can be written in quotes without a second thought.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.chars().all(|char| char != '\'' && !char.is_control())
}

/// A column of values for each key; null where a row does not have it.
fn values_of(map: &MapArray, wanted: &[&str]) -> Vec<ArrayRef> {
    let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>()) else {
        return vec![new_null_array(&DataType::Utf8, map.len()); wanted.len()];
    };
    let mut columns: Vec<StringBuilder> = wanted.iter().map(|_| StringBuilder::new()).collect();
    let mut places = Vec::new();
    let mut before = 0..0;
    for row in 0..map.len() {
        let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        // Most rows have the keys of the row before, in the same order.
        if row == 0 || !same_keys(keys, &before, &entries) {
            let place = |wanted: &&str| entries.clone().position(|entry| keys.value(entry) == *wanted);
            places = wanted.iter().map(place).collect::<Vec<_>>();
        }
        for (column, place) in columns.iter_mut().zip(&places) {
            let entry = place.map(|place| entries.start + place).filter(|entry| values.is_valid(*entry));
            column.append_option(entry.map(|entry| values.value(entry)));
        }
        before = entries;
    }
    columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect()
}

fn same_keys(keys: &StringArray, a: &std::ops::Range<usize>, b: &std::ops::Range<usize>) -> bool {
    let (offsets, bytes) = (keys.value_offsets(), keys.value_data());
    let text = |range: &std::ops::Range<usize>| &bytes[offsets[range.start] as usize..offsets[range.end] as usize];
    a.len() == b.len()
        && a.clone().zip(b.clone()).all(|(a, b)| keys.value_length(a) == keys.value_length(b))
        && text(a) == text(b)
}

/// What some of the rows have.
struct Sample<'a> {
    rows: usize,
    /// By map and key.
    uses: [HashMap<&'a str, Uses<'a>>; MAPS.len()],
}

struct Uses<'a> {
    rows: usize,
    values: HashSet<&'a str>,
    /// Of distinct values.
    value_bytes: usize,
    /// None of the values is too long.
    are_plain: bool,
}

impl Default for Uses<'_> {
    fn default() -> Self {
        Uses { rows: 0, values: HashSet::new(), value_bytes: 0, are_plain: true }
    }
}

impl<'a> Uses<'a> {
    fn add(&mut self, value: Option<&'a str>) {
        self.rows += 1;
        let Some(value) = value else { return };
        self.are_plain &= value.len() <= VALUE_BYTES_MAX;
        if self.are_plain && self.values.insert(value) {
            self.value_bytes += value.len() + size_of::<u32>();
        }
    }

    /// Of each row of the file: a dictionary, and a place in it for each row that has the attribute.
    fn column_bytes(&self, rows: usize) -> f64 {
        let place_bits = (self.values.len().max(1)).next_power_of_two().ilog2() as usize;
        let places = (self.rows * place_bits) as f64 / 8.0;
        (places + self.value_bytes as f64 * COMPRESSED) / rows.max(1) as f64
    }
}

impl<'a> Sample<'a> {
    fn of(table: Table, frames: &'a [Packed]) -> Sample<'a> {
        let rows: usize = frames.iter().map(Packed::num_rows).sum();
        let step = rows.div_ceil(SAMPLE_ROWS).max(1);
        let mut sample = Sample { rows: 0, uses: Default::default() };
        let columns = MAPS.map(|(map, _)| table.schema().index_of(map).ok());
        let mut entries = 0;
        let mut skip = 0;
        for frame in frames {
            let maps = columns.map(|column| frame.column(column?).as_map_opt());
            let mut row = skip;
            while row < frame.num_rows() && entries < SAMPLE_ENTRIES {
                sample.rows += 1;
                for (uses, (map, column)) in sample.uses.iter_mut().zip(maps.into_iter().zip(columns)) {
                    let Some(map) = map else { continue };
                    let is_origin = column >= Some(origin_first(table));
                    entries += add(map, if is_origin { frame.run_of_row(row) } else { row }, uses);
                }
                row += step;
            }
            skip = row.saturating_sub(frame.num_rows());
        }
        sample
    }
}

/// Counts what is in a row of a map, and returns how much that was.
fn add<'a>(map: &'a MapArray, row: usize, uses: &mut HashMap<&'a str, Uses<'a>>) -> usize {
    let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>()) else {
        return 0;
    };
    let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
    // Of more nobody will say that they are frequent.
    let looked_at = entries.take(SAMPLE_ENTRIES);
    let count = looked_at.len();
    for entry in looked_at {
        let value = values.is_valid(entry).then(|| values.value(entry));
        uses.entry(keys.value(entry)).or_default().add(value);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::{Rows, pack};
    use crate::rows;

    fn pair(key: &str, value: impl ToString) -> (String, Option<String>) {
        (key.to_owned(), Some(value.to_string()))
    }

    /// A frame of spans with these attributes, by number of the row.
    fn frame(rows: usize, attributes: impl Fn(usize) -> Vec<(String, Option<String>)>) -> Packed {
        let spans = rows::spans(&(0..rows as u64).map(|id| (1, id)).collect::<Vec<_>>());
        let spans = rows::with_attributes(spans, attributes);
        Packed::new(Table::Spans, &pack(Table::Spans, &[&Rows::new(spans).unwrap()]).unwrap()).unwrap()
    }

    /// The attributes that get columns.
    fn chosen(frame: Packed, before: &Promotion) -> Vec<String> {
        let names = Promotion::choose(Table::Spans, &[frame], before).names();
        assert_eq!(names.len(), SLOTS);
        names.into_iter().filter(|name| !name.is_empty()).collect()
    }

    #[test]
    fn what_is_frequent_and_repeats_gets_a_column() {
        let frame = frame(5000, |row| {
            let mut pairs = vec![pair("http.route", row % 7), pair("request.id", row * 7919), pair("it's", "x")];
            pairs.extend((row % 10 == 0).then(|| pair("error.type", "timeout")));
            pairs.extend((row % 50 == 0).then(|| pair("rare", "x")));
            pairs.push(pair("stack", "at line 1".repeat(100)));
            pairs
        });
        // The resource of these spans is an id as well.
        assert_eq!(chosen(frame, &Promotion::default()), ["attributes['http.route']", "attributes['error.type']"]);
    }

    #[test]
    fn a_million_keys_get_no_columns_and_the_frequent_one_among_them_does() {
        let frame = frame(5000, |row| {
            let many = (0..20).map(|key| pair(&format!("key-{}", row * 20 + key), "x"));
            many.chain([pair("http.route", "/")]).collect()
        });
        assert_eq!(chosen(frame, &Promotion::default()), ["attributes['http.route']"]);
    }

    #[test]
    fn there_are_never_more_columns_than_that() {
        let frame = frame(500, |_| (0..100).map(|key| pair(&format!("key-{key}"), "x")).collect());
        assert_eq!(chosen(frame, &Promotion::default()).len(), MAPS[0].1);
    }

    #[test]
    fn what_had_a_column_keeps_its_place() {
        let before =
            Promotion::parse(&["", "attributes['b']", "attributes['gone']", "attributes['rare']"].map(str::to_owned));
        let frame = frame(1000, |row| {
            let mut pairs = vec![pair("a", "x"), pair("b", "x")];
            pairs.extend((row % 25 == 0).then(|| pair("rare", "x")));
            pairs.extend((row % 25 == 0).then(|| pair("rare too", "x")));
            pairs
        });
        let names = Promotion::choose(Table::Spans, &[frame], &before).names();
        assert_eq!(names[..4], ["attributes['a']", "attributes['b']", "", "attributes['rare']"]);
        assert!(names[4..].iter().all(String::is_empty), "{names:?}");
    }

    #[test]
    fn a_column_has_what_the_map_has() {
        let attributes = |row: usize| match row % 4 {
            0 => vec![pair("a", row), pair("b", "x")],
            1 => vec![pair("b", row), pair("a", "")],
            2 => vec![],
            _ => vec![("a".to_owned(), None), pair("c", "x")],
        };
        let rows = rows::spans(&(0..9).map(|id| (1, id)).collect::<Vec<_>>());
        let rows = rows::with_attributes(rows, attributes);
        let promotion = Promotion::parse(&["attributes['b']".to_owned(), String::new(), "attributes['a']".to_owned()]);
        let columns = promotion.columns(rows.rows());
        assert_eq!(columns.len(), SLOTS);
        let text = |slot: usize| columns[slot].as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(text(0), [Some("x"), Some("1"), None, None, Some("x"), Some("5"), None, None, Some("x")]);
        assert_eq!(text(2), [Some("0"), Some(""), None, None, Some("4"), Some(""), None, None, Some("8")]);
        assert_eq!(columns[1].null_count(), 9);
    }
}
