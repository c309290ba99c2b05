//! Which records a rule is about.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use model::{Batch, Table, Value};
use serde::Deserialize;

use super::columns::{Place, column, labels, name_column, of_labels};
use super::config::{Pattern, some_scalar};

/// All that is named has to hold; a condition that names nothing always does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    service: Option<String>,
    /// Of the span or the metric, the event's of a log record.
    name: Option<String>,
    name_matches: Option<Pattern>,
    attribute: Option<Attribute>,
    severity_below: Option<Severity>,
}

/// An attribute of the record, or else of its scope, or else of its resource, compared as text: 200 and "200" are equal.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Declared")]
struct Attribute {
    key: String,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Text(String),
    Pattern(Pattern),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    key: String,
    #[serde(default, deserialize_with = "some_scalar")]
    equals: Option<Value>,
    matches: Option<Pattern>,
}

/// The lowest severity number of that name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Trace = 1,
    Debug = 5,
    Info = 9,
    Warn = 13,
    Error = 17,
    Fatal = 21,
}

impl Condition {
    pub(super) fn is_always(&self) -> bool {
        let Condition { service, name, name_matches, attribute, severity_below } = self;
        service.is_none() && name.is_none() && name_matches.is_none() && attribute.is_none() && severity_below.is_none()
    }

    /// Whether it holds, row by row.
    pub(super) fn holds(&self, batch: &Batch) -> Vec<bool> {
        let (table, rows) = (batch.table(), batch.rows());
        let mut holds = vec![true; rows.num_rows()];
        if let Some(service) = &self.service {
            and_labels(&mut holds, rows, "service", |label| label == service);
        }
        if let Some(name) = &self.name {
            and_labels(&mut holds, rows, name_column(table), |label| label == name);
        }
        if let Some(Pattern(pattern)) = &self.name_matches {
            and_labels(&mut holds, rows, name_column(table), |label| pattern.is_match(label));
        }
        if let Some(severity) = self.severity_below {
            and_below(&mut holds, table, rows, severity);
        }
        if let Some(attribute) = &self.attribute {
            let places = Place::ALL.map(|place| place.entries(rows));
            for (row, holds) in holds.iter_mut().enumerate().filter(|(_, holds)| **holds) {
                let found = places.iter().find_map(|entries| entries.get(row, &attribute.key));
                *holds = found.is_some_and(|entry| attribute.wanted.is(entry.text));
            }
        }
        holds
    }
}

fn and_labels(holds: &mut [bool], rows: &RecordBatch, name: &str, wanted: impl FnMut(&str) -> bool) {
    let found = of_labels(labels(rows, name), wanted, false);
    holds.iter_mut().zip(found).for_each(|(holds, found)| *holds &= found);
}

/// A record that does not say how severe it is may be important: it is below nothing. Other signals have no severity.
fn and_below(holds: &mut [bool], table: Table, rows: &RecordBatch, severity: Severity) {
    if table != Table::Logs {
        return holds.fill(false);
    }
    let numbers = column(rows, "severity_number").as_primitive::<Int32Type>();
    for (holds, number) in holds.iter_mut().zip(numbers.values()) {
        *holds &= (1..severity as i32).contains(number);
    }
}

impl Wanted {
    fn is(&self, text: &str) -> bool {
        match self {
            Wanted::Text(wanted) => wanted == text,
            Wanted::Pattern(Pattern(pattern)) => pattern.is_match(text),
        }
    }
}

impl TryFrom<Declared> for Attribute {
    type Error = &'static str;

    fn try_from(Declared { key, equals, matches }: Declared) -> Result<Attribute, &'static str> {
        let wanted = match (equals, matches) {
            (Some(value), None) => Wanted::Text(value.text),
            (None, Some(pattern)) => Wanted::Pattern(pattern),
            _ => return Err("an attribute has a key and either `equals`, a value, or `matches`, a regular expression"),
        };
        Ok(Attribute { key, wanted })
    }
}
