//! Attributes inserted, updated, deleted or hashed, one rule after the other: each sees what those before it made.

use model::{Attributes, Batch, Entries, Entry, Value, letter};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::TooLarge;
use super::columns::{Place, Runs, column, services, with_columns};
use super::condition::Condition;
use super::config::{Signals, some_scalar};

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Declared")]
pub(crate) struct Edit {
    action: Action,
    key: String,
    place: Place,
    pub(super) signals: Signals,
    when: Condition,
}

#[derive(Debug)]
enum Action {
    /// Only where the key is absent.
    Insert(Value),
    /// Only where it is there.
    Update(Value),
    Upsert(Value),
    Delete,
    /// SHA-256 of the value's text, as hex.
    Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    action: Name,
    key: String,
    #[serde(default, deserialize_with = "some_scalar")]
    value: Option<Value>,
    #[serde(default, rename = "in")]
    place: Place,
    #[serde(default)]
    signals: Signals,
    #[serde(default)]
    when: Condition,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Insert,
    Update,
    Upsert,
    Delete,
    Hash,
}

impl Edit {
    /// The batch with the rule applied, and how many of its records that changed.
    pub(super) fn apply(&self, batch: Batch) -> Result<(Batch, u64), TooLarge> {
        let holds = self.when.holds(&batch);
        match self.place {
            Place::Record => self.apply_to_records(batch, holds),
            Place::Scope | Place::Resource => self.apply_to_origins(batch, &holds),
        }
    }

    fn apply_to_records(&self, batch: Batch, holds: Vec<bool>) -> Result<(Batch, u64), TooLarge> {
        let entries = self.place.entries(batch.rows());
        let changes = self.changes(entries, holds);
        let count = changes.iter().filter(|changes| **changes).count() as u64;
        if count == 0 {
            return Ok((batch, 0));
        }
        let (attributes, types) = self.rewrite(entries, &changes)?.finish();
        let batch = with_columns(batch, self.place.columns().into_iter().zip([attributes, types]));
        Ok((batch, count))
    }

    fn apply_to_origins(&self, batch: Batch, holds: &[bool]) -> Result<(Batch, u64), TooLarge> {
        let runs = Runs::of(self.place.entries(batch.rows()), |row| holds[row] == holds[row - 1]);
        let [attributes, types] = self.place.columns().map(|name| runs.first(column(batch.rows(), name)));
        let entries = Entries::of(&attributes, &types);
        let changes = self.changes(entries, runs.starts().map(|row| holds[row]).collect());
        let count = runs.of_row().filter(|run| changes[*run]).count() as u64;
        if count == 0 {
            return Ok((batch, 0));
        }
        let (attributes, types) = self.rewrite(entries, &changes)?.finish();
        let mut columns = Vec::with_capacity(3);
        if self.place == Place::Resource {
            columns.push(("service", runs.spread(&services(Entries::of(&attributes, &types)))));
        }
        columns.extend(self.place.columns().into_iter().zip(runs.spread_attributes([&attributes, &types])?));
        Ok((with_columns(batch, columns), count))
    }

    /// Which of those the condition holds for would have other attributes afterwards.
    fn changes(&self, entries: Entries<'_>, mut holds: Vec<bool>) -> Vec<bool> {
        for (row, changes) in holds.iter_mut().enumerate().filter(|(_, changes)| **changes) {
            let found = entries.get(row, &self.key);
            *changes = match self.action {
                Action::Insert(_) => found.is_none(),
                Action::Update(_) | Action::Delete => found.is_some(),
                Action::Upsert(_) => true,
                Action::Hash => found.is_some_and(|entry| ![letter::ABSENT, letter::EMPTY].contains(&entry.letter)),
            };
        }
        holds
    }

    fn rewrite(&self, entries: Entries<'_>, changes: &[bool]) -> Result<Attributes, TooLarge> {
        let mut written = Attributes::default();
        for (row, changes) in changes.iter().enumerate() {
            let mut found = false;
            for entry in entries.row(row) {
                let ours = *changes && entry.key == self.key;
                found |= ours;
                match &self.action {
                    _ if !ours => written.push_entry(entry),
                    Action::Insert(_) | Action::Delete => {}
                    Action::Update(value) | Action::Upsert(value) => written.push_entry(self.entry(value)),
                    Action::Hash => written.push_entry(self.entry(&Value::from(hash(entry)))),
                }
            }
            if let (true, false, Action::Insert(value) | Action::Upsert(value)) = (*changes, found, &self.action) {
                written.push_entry(self.entry(value));
            }
            written.end_row();
            TooLarge::check(written.bytes())?;
        }
        Ok(written)
    }

    fn entry<'a>(&'a self, value: &'a Value) -> Entry<'a> {
        Entry { key: &self.key, text: &value.text, letter: value.letter }
    }
}

fn hash(entry: Entry<'_>) -> String {
    format!("{:x}", Sha256::digest(entry.text))
}

impl TryFrom<Declared> for Edit {
    type Error = String;

    fn try_from(declared: Declared) -> Result<Edit, String> {
        let Declared { action, key, value, place, signals, when } = declared;
        if key.is_empty() {
            return Err("the key is empty; write the name of an attribute".to_owned());
        }
        let needed = || format!("a rule that sets {key} needs a `value`: a text, a number, true or false");
        let action = match (action, value) {
            (Name::Insert, value) => Action::Insert(value.ok_or_else(needed)?),
            (Name::Update, value) => Action::Update(value.ok_or_else(needed)?),
            (Name::Upsert, value) => Action::Upsert(value.ok_or_else(needed)?),
            (Name::Delete, None) => Action::Delete,
            (Name::Hash, None) => Action::Hash,
            (Name::Delete | Name::Hash, Some(_)) => {
                return Err(format!("a rule that deletes or hashes {key} has no `value`; leave it out"));
            }
        };
        Ok(Edit { action, key, place, signals, when })
    }
}
