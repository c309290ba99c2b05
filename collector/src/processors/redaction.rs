//! What must not be kept is masked, wherever text of a client's own stands: in attributes of every place, in bodies and status
//! messages, in names of spans and of events. Names of metrics and services, times, numbers and ids are what they are.
//!
//! Here it is decided what is masked in one value; `walk` goes through a batch, `nested` into arrays and maps.

mod nested;
mod walk;

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Batch, Value, letter};
use regex::{Regex, RegexSet};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::columns::is_service_name;
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
        walk::through(self, batch)
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
