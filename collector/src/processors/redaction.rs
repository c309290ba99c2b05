//! What must not be kept is masked, wherever text of a client's own stands: in attributes of every place, in bodies and status
//! messages, in names of spans and of events. Names of metrics and services, times, numbers and ids are what they are.
//!
//! A batch is searched first and rewritten only where something was found, which is rare.

mod nested;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, ListArray, StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Fields, Int32Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Attributes, Batch, Entries, Entry, Table, Value, letter};
use regex::{Regex, RegexSet};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::columns::{Place, is_service_name, of_columns, services, with_columns};
use super::config::Pattern;
use super::{TooLarge, cards};

/// What stands where something was.
pub(super) const MASK: &str = "****";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// On as soon as there is a redaction at all: whoever asks for one expects it. Without one nothing is changed unasked.
    #[serde(default = "yes")]
    card_numbers: bool,
    /// Attributes that keep their values, besides `service.name`.
    keys_allowed: Option<HashSet<String>>,
    #[serde(default)]
    keys_masked: Vec<Pattern>,
    #[serde(default, deserialize_with = "of_something")]
    values_masked: Vec<Pattern>,
}

fn yes() -> bool {
    true
}

/// A pattern that matches nothing at all would match between any two characters.
fn of_something<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    let patterns = Vec::<Pattern>::deserialize(from)?;
    match patterns.iter().find(|Pattern(pattern)| pattern.is_match("")) {
        Some(Pattern(pattern)) => Err(D::Error::custom(format!(
            "{:?} matches an empty text, so it would match everywhere; let it ask for at least one character",
            pattern.as_str()
        ))),
        None => Ok(patterns),
    }
}

pub(super) struct Redaction {
    card_numbers: bool,
    keys_allowed: Option<HashSet<String>>,
    keys_masked: RegexSet,
    /// Which of `values_masked` are worth a look.
    values_found: RegexSet,
    values_masked: Vec<Regex>,
}

impl Redaction {
    pub(super) fn new(config: Config) -> anyhow::Result<Redaction> {
        let Config { card_numbers, keys_allowed, keys_masked, values_masked } = config;
        let set = |patterns: &[Pattern]| RegexSet::new(patterns.iter().map(|Pattern(pattern)| pattern.as_str()));
        Ok(Redaction {
            card_numbers,
            keys_allowed,
            keys_masked: set(&keys_masked)?,
            values_found: set(&values_masked)?,
            values_masked: values_masked.into_iter().map(|Pattern(pattern)| pattern).collect(),
        })
    }

    /// The batch without what it must not have, and how many values were masked.
    pub(super) fn apply(&self, batch: Batch) -> Result<(Batch, u64), TooLarge> {
        let table = batch.table();
        let mut pass = Pass { redaction: self, keys: HashMap::new(), masked: 0 };
        let texts = texts(table);
        let Some(columns) = pass.columns(batch.rows().schema_ref().fields(), batch.rows().columns(), texts)? else {
            return Ok((batch, 0));
        };
        let masked = pass.masked;
        let batch = of_columns(table, columns);
        let service = services(Place::Resource.entries(batch.rows()));
        Ok((with_columns(batch, [("service", service)]), masked))
    }

    fn masks_key(&self, key: &str) -> bool {
        let allowed = self.keys_allowed.as_ref().is_none_or(|keys| is_service_name(key) || keys.contains(key));
        !allowed || self.keys_masked.is_match(key)
    }

    /// The text with everything masked that was found in it; `None` when nothing was.
    fn mask_text(&self, text: &str) -> Option<String> {
        let mut masked = Cow::Borrowed(text);
        if self.card_numbers && cards::is_possible(text) {
            masked = mask_cards(text);
        }
        if !self.values_masked.is_empty() {
            for index in self.values_found.matches(&masked) {
                if let Cow::Owned(replaced) = self.values_masked[index].replace_all(&masked, regex::NoExpand(MASK)) {
                    masked = Cow::Owned(replaced);
                }
            }
        }
        match masked {
            Cow::Owned(masked) if masked != text => Some(masked),
            _ => None,
        }
    }

    /// The same for a value of any type. What is masked in a number or in bytes is a string afterwards.
    fn mask_value(&self, text: &str, letter: u8) -> Option<Value> {
        match letter {
            letter::STRING | letter::INT | letter::DOUBLE => self.mask_text(text).map(Value::from),
            letter::BYTES => self.hides(text).then(|| Value::from(MASK.to_owned())),
            letter::ARRAY | letter::MAP => match nested::mask(self, text) {
                Ok(masked) => masked.map(|text| Value { text, letter }),
                // Somebody else wrote it. It is a string then, to whoever reads it.
                Err(_) => self.mask_text(text).map(Value::from),
            },
            _ => None,
        }
    }

    /// Whether these bytes, in base64, are a text with something to mask.
    fn hides(&self, base64: &str) -> bool {
        let bytes = STANDARD.decode(base64).ok();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).is_some_and(|text| self.mask_text(&text).is_some())
    }
}

fn mask_cards(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut copied = 0;
    while let Some(card) = cards::find(text, copied) {
        masked.push_str(&text[copied..card.start]);
        masked.push_str(MASK);
        copied = card.end;
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(masked + &text[copied..]),
    }
}

/// Columns of text outside attributes.
fn texts(table: Table) -> &'static [&'static str] {
    match table {
        Table::Spans => &["name", "status_message"],
        Table::Logs => &["event_name", "body"],
        _ => &["metadata"],
    }
}

/// One walk through a batch.
struct Pass<'a> {
    redaction: &'a Redaction,
    /// What was decided about a key. There are few, and each row has them.
    keys: HashMap<String, bool>,
    masked: u64,
}

impl Pass<'_> {
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
                DataType::Map(..) => self.attributes(Entries::of(&columns[index], &columns[index + 1]))?,
                DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)) => {
                    self.list(columns[index].as_list())?.map(|list| vec![list])
                }
                _ if !texts.contains(&field.name().as_str()) => None,
                DataType::Dictionary(..) => self.labels(columns[index].as_dictionary()).map(|labels| vec![labels]),
                _ if field.name() == "body" => self.bodies(columns[index].as_string(), columns[index + 1].as_string()),
                _ if field.name() == "metadata" => self.metadata(columns[index].as_string()).map(|text| vec![text]),
                _ => self.texts(columns[index].as_string()).map(|texts| vec![texts]),
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

    fn texts(&mut self, texts: &StringArray) -> Option<ArrayRef> {
        self.each(texts, |redaction, text| redaction.mask_text(text))
    }

    fn metadata(&mut self, texts: &StringArray) -> Option<ArrayRef> {
        self.each(texts, |redaction, text| nested::mask_key_values(redaction, text).ok().flatten())
    }

    fn each(&mut self, texts: &StringArray, mask: impl Fn(&Redaction, &str) -> Option<String>) -> Option<ArrayRef> {
        let masked: Vec<Option<String>> =
            texts.iter().map(|text| text.and_then(|text| mask(self.redaction, text))).collect();
        let count = masked.iter().flatten().count() as u64;
        self.masked += count;
        let texts = || texts.iter().zip(&masked).map(|(text, masked)| masked.as_deref().or(text));
        (count > 0).then(|| Arc::new(texts().collect::<StringArray>()) as ArrayRef)
    }

    /// Bodies and their types.
    fn bodies(&mut self, bodies: &StringArray, types: &StringArray) -> Option<Vec<ArrayRef>> {
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
            return None;
        }
        self.masked += count;
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
        Some(vec![Arc::new(new_bodies.finish()), Arc::new(new_types.finish())])
    }
}
