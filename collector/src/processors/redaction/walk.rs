//! Through all text of a batch. Each column is searched first and rewritten only if something was found, which is rare.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, ListArray, StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Fields, Int32Type};
use model::{Attributes, Batch, Entries, Entry, Table, Value, letter};

use super::super::TooLarge;
use super::super::columns::{Place, Runs, column, of_columns, services, with_columns};
use super::{MASK, Redaction, nested};

/// The batch without what it must not have, and how many values were masked.
pub(super) fn through(redaction: &Redaction, batch: Batch) -> Result<(Batch, u64), TooLarge> {
    let table = batch.table();
    let mut walk = Walk { redaction, keys: HashMap::new(), masked: 0 };
    let (fields, columns) = (batch.rows().schema_ref().fields(), batch.rows().columns());
    let Some(columns) = walk.columns(fields, columns, texts(table))? else { return Ok((batch, 0)) };
    let redacted = of_columns(table, columns);
    let [before, after] = [&batch, &redacted].map(|batch| column(batch.rows(), "resource"));
    if Arc::ptr_eq(before, after) {
        return Ok((redacted, walk.masked));
    }
    let service = services(Place::Resource.entries(redacted.rows()));
    Ok((with_columns(redacted, [("service", service)]), walk.masked))
}

/// Columns of text outside attributes.
fn texts(table: Table) -> &'static [&'static str] {
    match table {
        Table::Spans => &["name", "status_message"],
        Table::Logs => &["event_name", "body"],
        _ => &["metadata"],
    }
}

/// One walk.
struct Walk<'a> {
    redaction: &'a Redaction,
    /// What was decided about a key. There are few, and each row has them.
    keys: HashMap<String, bool>,
    masked: u64,
}

impl Walk<'_> {
    /// The columns with what had to be masked; `None` when nothing had to.
    fn columns(
        &mut self,
        fields: &Fields,
        columns: &[ArrayRef],
        texts: &[&str],
    ) -> Result<Option<Vec<ArrayRef>>, TooLarge> {
        let mut found = false;
        let mut masked = columns.to_vec();
        for (index, field) in fields.iter().enumerate() {
            // The types of attributes, and of the body, are the column after them.
            let replaced = match field.data_type() {
                DataType::Map(..) if Place::is_origin(field.name()) => {
                    self.origins(&columns[index], &columns[index + 1])?
                }
                DataType::Map(..) => self.attributes(Entries::of(&columns[index], &columns[index + 1]))?,
                DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)) => {
                    self.list(columns[index].as_list())?.map(|list| vec![list])
                }
                _ if !texts.contains(&field.name().as_str()) => None,
                DataType::Dictionary(..) => self.labels(columns[index].as_dictionary()).map(|labels| vec![labels]),
                _ if field.name() == "body" => {
                    self.bodies(columns[index].as_string(), columns[index + 1].as_string())?
                }
                _ if field.name() == "metadata" => self.metadata(columns[index].as_string())?.map(|texts| vec![texts]),
                _ => self.texts(columns[index].as_string())?.map(|texts| vec![texts]),
            };
            for (nth, column) in replaced.into_iter().flatten().enumerate() {
                masked[index + nth] = column;
                found = true;
            }
        }
        Ok(found.then_some(masked))
    }

    /// Events, links or exemplars.
    fn list(&mut self, list: &ListArray) -> Result<Option<ArrayRef>, TooLarge> {
        let DataType::List(item) = list.data_type() else { return Ok(None) };
        let items = list.values().as_struct();
        let Some(columns) = self.columns(items.fields(), items.columns(), &["name"])? else { return Ok(None) };
        let items = StructArray::new(items.fields().clone(), columns, items.nulls().cloned());
        let list = ListArray::new(Arc::clone(item), list.offsets().clone(), Arc::new(items), list.nulls().cloned());
        Ok(Some(Arc::new(list)))
    }

    /// Attributes of resources or scopes, which many rows in a row share. What is masked counts once for all of these.
    fn origins(&mut self, attributes: &ArrayRef, types: &ArrayRef) -> Result<Option<Vec<ArrayRef>>, TooLarge> {
        let runs = Runs::of(Entries::of(attributes, types), |_| true);
        let [attributes, types] = [attributes, types].map(|column| runs.first(column));
        match self.attributes(Entries::of(&attributes, &types))?.as_deref() {
            Some([attributes, types]) => Ok(Some(runs.spread_attributes([attributes, types])?.to_vec())),
            _ => Ok(None),
        }
    }

    fn attributes(&mut self, entries: Entries<'_>) -> Result<Option<Vec<ArrayRef>>, TooLarge> {
        let mut found = Vec::new();
        for row in 0..entries.rows() {
            for (nth, entry) in entries.row(row).enumerate() {
                if let Some(value) = self.mask_entry(entry) {
                    found.push((row, nth, value));
                }
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        self.masked += found.len() as u64;
        let mut written = Attributes::default();
        let mut found = found.iter().peekable();
        for row in 0..entries.rows() {
            for (nth, entry) in entries.row(row).enumerate() {
                match found.next_if(|(at_row, at, _)| (*at_row, *at) == (row, nth)) {
                    Some((_, _, value)) => {
                        written.push_entry(Entry { text: &value.text, letter: value.letter, ..entry });
                    }
                    None => written.push_entry(entry),
                }
            }
            written.end_row();
            TooLarge::check(written.bytes())?;
        }
        let (attributes, types) = written.finish();
        Ok(Some(vec![attributes, types]))
    }

    fn mask_entry(&mut self, entry: Entry<'_>) -> Option<Value> {
        match self.masks_key(entry.key) {
            true => (entry.text != MASK || entry.letter != letter::STRING).then(|| Value::from(MASK.to_owned())),
            false => self.redaction.mask_value(entry.text, entry.letter),
        }
    }

    fn masks_key(&mut self, key: &str) -> bool {
        if self.redaction.keys_allowed.is_none() && self.redaction.keys_masked.is_empty() {
            return false;
        }
        if let Some(masks) = self.keys.get(key) {
            return *masks;
        }
        let masks = self.redaction.masks_key(key);
        self.keys.insert(key.to_owned(), masks);
        masks
    }

    /// A label is looked at once, and counted for each row that has it.
    fn labels(&mut self, labels: &DictionaryArray<Int32Type>) -> Option<ArrayRef> {
        let values = labels.values().as_string::<i32>();
        let masked: Vec<Option<String>> =
            values.iter().map(|label| label.and_then(|label| self.redaction.mask_text(label))).collect();
        if masked.iter().all(Option::is_none) {
            return None;
        }
        let keys = labels.keys();
        self.masked += keys.iter().flatten().filter(|key| masked[*key as usize].is_some()).count() as u64;
        let values: StringArray =
            values.iter().zip(&masked).map(|(label, masked)| masked.as_deref().or(label)).collect();
        Some(Arc::new(DictionaryArray::new(keys.clone(), Arc::new(values))))
    }

    fn texts(&mut self, texts: &StringArray) -> Result<Option<ArrayRef>, TooLarge> {
        self.each(texts, |redaction, text| redaction.mask_text(text))
    }

    fn metadata(&mut self, texts: &StringArray) -> Result<Option<ArrayRef>, TooLarge> {
        self.each(texts, |redaction, text| nested::mask_key_values(redaction, text).ok().flatten())
    }

    fn each(
        &mut self,
        texts: &StringArray,
        mask: impl Fn(&Redaction, &str) -> Option<String>,
    ) -> Result<Option<ArrayRef>, TooLarge> {
        let masked: Vec<Option<String>> =
            texts.iter().map(|text| text.and_then(|text| mask(self.redaction, text))).collect();
        let count = masked.iter().flatten().count() as u64;
        self.masked += count;
        TooLarge::check(masked.iter().flatten().map(String::len).sum())?;
        let texts = || texts.iter().zip(&masked).map(|(text, masked)| masked.as_deref().or(text));
        Ok((count > 0).then(|| Arc::new(texts().collect::<StringArray>()) as ArrayRef))
    }

    /// Bodies and their types.
    fn bodies(&mut self, bodies: &StringArray, types: &StringArray) -> Result<Option<Vec<ArrayRef>>, TooLarge> {
        let letters = types.iter().map(|letter| match letter {
            Some(letter) => letter.bytes().next().unwrap_or(letter::ABSENT),
            None => letter::STRING,
        });
        let masked: Vec<Option<Value>> = bodies
            .iter()
            .zip(letters)
            .map(|(body, letter)| self.redaction.mask_value(body.unwrap_or_default(), letter))
            .collect();
        let count = masked.iter().flatten().count() as u64;
        if count == 0 {
            return Ok(None);
        }
        self.masked += count;
        TooLarge::check(masked.iter().flatten().map(|value| value.text.len()).sum())?;
        let (mut new_bodies, mut new_types) = (StringBuilder::new(), StringBuilder::new());
        for (row, masked) in masked.iter().enumerate() {
            match masked {
                Some(value) => {
                    new_bodies.append_value(&value.text);
                    let letter = char::from(value.letter).to_string();
                    new_types.append_option((value.letter != letter::STRING).then_some(letter));
                }
                None => {
                    new_bodies.append_value(bodies.value(row));
                    new_types.append_option(types.is_valid(row).then(|| types.value(row)));
                }
            }
        }
        Ok(Some(vec![Arc::new(new_bodies.finish()), Arc::new(new_types.finish())]))
    }
}
