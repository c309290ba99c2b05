//! A `Map<Utf8, Utf8>` column and the column of type letters beside it: written from the wire, or entry by entry by whoever
//! changes attributes on their way, and read entry by entry.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StructArray};
use arrow::datatypes::DataType;

use crate::DecodeError;
use crate::columns::{Lists, OptionalText, Text};
use crate::schema;
use crate::value::{self, letter};
use crate::wire::Message;

/// Up to here keys are compared pair by pair, which costs less than hashing them.
const COMPARED_PAIRWISE_MAX: usize = 32;

/// One attribute. The letter says what the text was, see [`letter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a str,
    pub text: &'a str,
    pub letter: u8,
}

/// Attributes of many records as they are in a batch.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    map: &'a MapArray,
    keys: &'a StringArray,
    texts: &'a StringArray,
    types: &'a StringArray,
}

impl<'a> Entries<'a> {
    /// Of a column of attributes and the column of their types. Columns of other types are a bug of the caller and panic.
    pub fn of(map: &'a ArrayRef, types: &'a ArrayRef) -> Entries<'a> {
        let map = map.as_map();
        Entries { map, keys: map.keys().as_string(), texts: map.values().as_string(), types: types.as_string() }
    }

    /// How many records there are.
    pub fn rows(&self) -> usize {
        self.map.len()
    }

    /// The attributes of one record, in the order received.
    pub fn row(self, row: usize) -> impl Iterator<Item = Entry<'a>> {
        let offsets = self.map.value_offsets();
        let letters = if self.types.is_valid(row) { self.types.value(row).as_bytes() } else { &[] };
        (offsets[row] as usize..offsets[row + 1] as usize).enumerate().map(move |(nth, index)| Entry {
            key: self.keys.value(index),
            text: self.texts.value(index),
            letter: letters.get(nth).copied().unwrap_or(letter::STRING),
        })
    }

    pub fn get(self, row: usize, key: &str) -> Option<Entry<'a>> {
        self.row(row).find(|entry| entry.key == key)
    }

    /// Whether a record has the same attributes as the one before it. Where they come from an origin that is the rule.
    pub fn repeats(self, row: usize) -> bool {
        let offsets = self.map.value_offsets();
        let of = |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
        let (before, here) = (of(row - 1), of(row));
        let types = |row| self.types.is_valid(row).then(|| self.types.value(row));
        before.len() == here.len()
            && equal(self.keys, &before, &here)
            && equal(self.texts, &before, &here)
            && types(row - 1) == types(row)
    }
}

/// Whether two ranges of the same length have the same texts. Their bytes lie in one piece each.
fn equal(texts: &StringArray, one: &Range<usize>, other: &Range<usize>) -> bool {
    let (ends, bytes) = (texts.value_offsets(), texts.value_data());
    let bytes = |range: &Range<usize>| &bytes[ends[range.start] as usize..ends[range.end] as usize];
    let end = |range: &Range<usize>, nth: usize| ends[range.start + nth] - ends[range.start];
    (1..=one.len()).all(|nth| end(one, nth) == end(other, nth)) && bytes(one) == bytes(other)
}

/// Attributes of many records while they are written, in order, each key once a record.
#[derive(Default)]
pub struct Attributes {
    lists: Lists,
    keys: Text,
    values: Text,
    types: OptionalText,
    /// Letters of the row being written.
    letters: Vec<u8>,
}

impl Attributes {
    /// One row: every `KeyValue` that `message` has as field `number`.
    pub(crate) fn push(&mut self, mut message: Message<'_>, number: u32) -> Result<(), DecodeError> {
        let first = self.keys.len();
        while let Some(field) = message.next()? {
            if field.number == number {
                let (key, value) = value::read_key_value(field.message()?)?;
                // As it will read: two keys that are no text may become the same one.
                match key.is_ascii() {
                    true => self.keys.push(key),
                    false => self.keys.push(String::from_utf8_lossy(key).as_bytes()),
                }
                self.letters.push(match value {
                    Some(value) => value::write_text(value, self.values.open())?,
                    None => letter::ABSENT,
                });
                self.values.close();
            }
        }
        if self.has_duplicates(first) {
            self.keep_last(first);
        }
        self.end_row();
        Ok(())
    }

    /// An attribute of the record being written, which has none of this key.
    pub fn push_entry(&mut self, entry: Entry<'_>) {
        self.keys.push(entry.key.as_bytes());
        self.values.push(entry.text.as_bytes());
        self.letters.push(entry.letter);
    }

    /// Nothing more follows for this record.
    pub fn end_row(&mut self) {
        self.lists.close(self.keys.len());
        let typed = self.letters.iter().any(|letter| *letter != letter::STRING);
        self.types.push(typed.then_some(&self.letters));
        self.letters.clear();
    }

    fn has_duplicates(&self, first: usize) -> bool {
        let count = self.keys.len() - first;
        if count > COMPARED_PAIRWISE_MAX {
            let mut seen = HashSet::with_capacity(count);
            return !(first..self.keys.len()).all(|index| seen.insert(self.keys.get(index)));
        }
        (first + 1..self.keys.len()).any(|later| {
            let key = self.keys.get(later);
            (first..later).any(|earlier| self.keys.get(earlier) == key)
        })
    }

    /// Of entries with the same key the last stays, where it stands.
    #[cold]
    fn keep_last(&mut self, first: usize) {
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for index in (first..self.keys.len()).rev() {
            let key = self.keys.get(index).to_vec();
            if seen.insert(key.clone()) {
                kept.push((key, self.values.get(index).to_vec(), self.letters[index - first]));
            }
        }
        self.keys.truncate(first);
        self.values.truncate(first);
        self.letters.clear();
        for (key, value, letter) in kept.into_iter().rev() {
            self.keys.push(&key);
            self.values.push(&value);
            self.letters.push(letter);
        }
    }

    /// Appends all rows of `other`, `times` times.
    pub(crate) fn copy(&mut self, other: &Attributes, times: usize) {
        self.lists.copy(&other.lists, times);
        self.keys.copy(&other.keys, times);
        self.values.copy(&other.values, times);
        self.types.copy(&other.types, times);
    }

    /// Text of `key` in `row`.
    pub(crate) fn get(&self, row: usize, key: &str) -> Option<&[u8]> {
        let index = self.lists.range(row).find(|index| self.keys.get(*index) == key.as_bytes())?;
        Some(self.values.get(index))
    }

    /// Bytes of everything so far. They have to stay below 2 GiB, where the offsets of a column end.
    pub fn bytes(&self) -> usize {
        let offsets = 2 * size_of::<i32>() * self.keys.len();
        self.keys.bytes() + self.values.bytes() + self.types.bytes() + offsets
    }

    /// The map column and the types column.
    pub fn finish(self) -> (ArrayRef, ArrayRef) {
        let DataType::Map(entries, ordered) = schema::attributes_type() else { unreachable!("attributes are a map") };
        let DataType::Struct(fields) = entries.data_type().clone() else {
            unreachable!("the entries of a map are structs")
        };
        let items = StructArray::new(fields, vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())], None);
        let map = MapArray::new(entries, self.lists.into_offsets(), items, None, ordered);
        (Arc::new(map), Arc::new(self.types.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn row(keys: &[String]) -> Vec<(String, String)> {
        let mut wire = Writer::default();
        for (index, key) in keys.iter().enumerate() {
            wire.message(9, |entry| {
                entry.bytes(1, key.as_bytes());
                entry.message(2, |value| value.varint(3, index as u64));
            });
        }
        let mut attributes = Attributes::default();
        attributes.push(Message::new(&wire.into_bytes()), 9).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        attributes.lists.range(0).map(|i| (text(attributes.keys.get(i)), text(attributes.values.get(i)))).collect()
    }

    #[test]
    fn the_last_of_equal_keys_stays_in_its_place() {
        let keys = ["a", "b", "a", "c", "b"].map(str::to_owned);
        let expected = [("a", "2"), ("c", "3"), ("b", "4")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(row(&keys), expected);
    }

    #[test]
    fn entries_come_back_as_they_were_written_and_repeats_are_known() {
        let entry = |key, text, letter| Entry { key, text, letter };
        let rows: [&[Entry<'_>]; 8] = [
            &[],
            &[],
            &[entry("a", "1", letter::STRING), entry("b", "", letter::ABSENT)],
            &[entry("a", "1", letter::STRING), entry("b", "", letter::ABSENT)],
            &[entry("a", "1", letter::STRING), entry("b", "", letter::STRING)],
            &[entry("a", "", letter::STRING), entry("b", "1", letter::STRING)],
            &[entry("a", "", letter::STRING), entry("c", "1", letter::STRING)],
            &[entry("ac", "1", letter::STRING)],
        ];
        let mut attributes = Attributes::default();
        for row in rows {
            row.iter().for_each(|entry| attributes.push_entry(*entry));
            attributes.end_row();
        }
        let (map, types) = attributes.finish();
        let entries = Entries::of(&map, &types);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(entries.row(number).collect::<Vec<_>>(), *row);
        }
        let repeats: Vec<usize> = (1..entries.rows()).filter(|row| entries.repeats(*row)).collect();
        assert_eq!(repeats, [1, 3]);
        assert_eq!(entries.get(6, "c").map(|entry| entry.text), Some("1"));
    }

    #[test]
    fn many_keys_follow_the_same_rule() {
        let keys: Vec<String> = (0..100).map(|index| format!("k{}", index % 90)).collect();
        let kept = row(&keys);
        assert_eq!(kept.len(), 90);
        assert_eq!(kept[0], ("k10".to_owned(), "10".to_owned()));
        assert_eq!(kept[89], ("k9".to_owned(), "99".to_owned()));
    }
}
