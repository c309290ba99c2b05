//! The table `[processors]` of a TOML file, `faultline.toml` as a rule: what is declared, checked where it is read.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use model::{Signal, Value};
use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::attributes::Edit;
use super::condition::Condition;
use super::redaction;
use super::sampling;

/// Every processor with the words it is declared in; `faultline config` shows it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Characters of a line that are repeated when it is wrong.
const QUOTED_MAX: usize = 80;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub attributes: Vec<Edit>,
    pub redaction: Option<redaction::Config>,
    #[serde(default)]
    pub filter: Vec<Unwanted>,
    pub sampling: Option<sampling::Config>,
    pub repeats: Option<Repeats>,
}

/// The same bytes are the same request, for a time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeats {
    /// Clients retry for five minutes as a rule; twice that.
    #[serde(default = "ten_minutes")]
    pub window_seconds: NonZeroU64,
    /// Of each signal: 400 requests a second of the usual window, in some 16 MB.
    #[serde(default = "quarter_million")]
    pub requests_max: NonZeroUsize,
}

const fn ten_minutes() -> NonZeroU64 {
    NonZeroU64::new(600).expect("not zero")
}

const fn quarter_million() -> NonZeroUsize {
    NonZeroUsize::new(1 << 18).expect("not zero")
}

/// Records that nobody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unwanted {
    #[serde(default)]
    pub signals: Signals,
    #[serde(deserialize_with = "not_everything")]
    pub drop: Condition,
}

/// The signals a rule is for: all, unless some are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals([bool; Signal::ALL.len()]);

/// A regular expression, as of the crate `regex`: found anywhere in a text unless `^` and `$` say otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(pub Regex);

/// The table in the file at `path`. An error is one sentence with the file, the line and what to write instead.
pub(crate) fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("could not read the processors of --processors from {}", path.display()))?;
    parse(&text).with_context(|| format!("the processors in {} are not understood", path.display()))
}

pub(super) fn parse(text: &str) -> anyhow::Result<Config> {
    /// Other tables are for others.
    #[derive(Deserialize)]
    struct File {
        processors: Option<Config>,
    }
    let file: File = toml::from_str(text).map_err(|error| sentence(text, &error))?;
    match file.processors {
        Some(config) => Ok(config),
        None => bail!("it has no table [processors]; `faultline config` shows one, or leave --processors out"),
    }
}

/// Where it is, what stands there and what is wrong with it.
fn sentence(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let message = error.message().trim_end().replace('\n', ", ");
    let Some(span) = error.span() else { return anyhow!("{message}") };
    let before = &text[..text.floor_char_boundary(span.start)];
    let number = before.matches('\n').count() + 1;
    let line: String = text.lines().nth(number - 1).unwrap_or_default().trim().chars().take(QUOTED_MAX).collect();
    anyhow!("line {number}, `{line}`: {message}")
}

impl Signals {
    pub(crate) fn has(self, signal: Signal) -> bool {
        self.0[signal as usize]
    }

    pub(crate) fn of(signals: &[Signal]) -> Signals {
        Signals(Signal::ALL.map(|signal| signals.contains(&signal)))
    }
}

impl Default for Signals {
    fn default() -> Signals {
        Signals::of(&Signal::ALL)
    }
}

impl<'de> Deserialize<'de> for Signals {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Signals, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        let signal = |name: &String| {
            let known = Signal::ALL.into_iter().find(|signal| signal.name() == name);
            known.ok_or_else(|| D::Error::custom(format!("{name:?} is no signal; write traces, logs or metrics")))
        };
        let signals = names.iter().map(signal).collect::<Result<Vec<_>, _>>()?;
        if signals.is_empty() {
            return Err(D::Error::custom("no signal is named; leave `signals` out to mean all"));
        }
        Ok(Signals::of(&signals))
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        let wrong = |error: regex::Error| {
            // The last line says what is wrong, those before draw where.
            let drawn = error.to_string();
            let what = drawn.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{text:?} is no regular expression: {what}")
        };
        Regex::new(&text).map(Pattern).map_err(wrong)
    }
}

/// What an attribute can be set to, or be compared with.
pub(super) fn some_scalar<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(text) => Ok(Some(text.into())),
        toml::Value::Integer(number) => Ok(Some(number.into())),
        toml::Value::Float(number) => Ok(Some(number.into())),
        toml::Value::Boolean(truth) => Ok(Some(truth.into())),
        _ => Err(D::Error::custom("a value is a text, a number, true or false")),
    }
}

/// A number from 0 to 100, whole or not.
pub(super) fn percentage<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number = match toml::Value::deserialize(from)? {
        toml::Value::Integer(number) => number as f64,
        toml::Value::Float(number) => number,
        _ => f64::NAN,
    };
    match (0.0..=100.0).contains(&number) {
        true => Ok(number),
        false => Err(D::Error::custom("a percentage is a number from 0 to 100")),
    }
}

fn not_everything<'de, D: Deserializer<'de>>(from: D) -> Result<Condition, D::Error> {
    let condition = Condition::deserialize(from)?;
    match condition.is_always() {
        true => Err(D::Error::custom(
            "it names nothing, so that everything would be dropped; \
             write service, name, name_matches, attribute or severity_below",
        )),
        false => Ok(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_understood() {
        let config = parse(EXAMPLE).expect("it is what `faultline config` shows");
        assert_eq!((config.attributes.len(), config.filter.len()), (2, 3));
        assert!(config.redaction.is_some() && config.sampling.is_some());
        assert_eq!(config.repeats.expect("declared").window_seconds, ten_minutes());
    }

    #[test]
    fn other_tables_are_for_others() {
        let text = "data-dir = \"./data\"\n[collector]\notlp-grpc = \"127.0.0.1:4317\"\n[processors]\n";
        assert!(parse(text).expect("an empty table is one").attributes.is_empty());
        let error = parse("[processor]").expect_err("a word is missing");
        assert!(error.to_string().contains("it has no table [processors]"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_to_write() {
        let upsert = "[[processors.attributes]]\naction = \"upsert\"\nkey = \"k\"\n";
        let cases = [
            ("[processors]\nfilters = []", "line 2, `filters = []`: unknown field `filters`, expected one of"),
            ("[processors.redaction]\ncards = true", "expected one of `card_numbers`, `keys_allowed`"),
            ("[processors.redaction]\nkeys_masked = [\"(\"]", "\"(\" is no regular expression: unclosed group"),
            ("[processors.redaction]\nvalues_masked = [\"x*\"]", "\"x*\" matches an empty text"),
            (
                "[processors.sampling]\npercentage = 101",
                "line 2, `percentage = 101`: a percentage is a number from 0 to 100",
            ),
            ("[processors.sampling]\npercentage = \"5\"", "a percentage is a number from 0 to 100"),
            ("[processors.sampling]\nlogs = true", "missing field `percentage`"),
            ("[[processors.filter]]\ndrop = {}", "it names nothing, so that everything would be dropped"),
            (
                "[[processors.filter]]\ndrop = { severity_below = \"loud\" }",
                "unknown variant `loud`, expected one of `trace`",
            ),
            ("[[processors.filter]]\ndrop = { attribute = { key = \"k\" } }", "either `equals`, a value, or `matches`"),
            (
                "[[processors.filter]]\nsignals = [\"spans\"]\ndrop = { name = \"n\" }",
                "\"spans\" is no signal; write traces",
            ),
            ("[processors.repeats]\nwindow_seconds = 0", "line 2, `window_seconds = 0`: "),
            (upsert, "a rule that sets k needs a `value`"),
            (&format!("{upsert}value = [1]"), "a value is a text, a number, true or false"),
            (&format!("{upsert}value = 1\nin = \"span\""), "unknown variant `span`, expected one of `record`"),
            ("[[processors.attributes]]\naction = \"hash\"\nkey = \"k\"\nvalue = 1", "has no `value`; leave it out"),
            ("[processors\n", "line 1, `[processors`: "),
        ];
        for (text, expected) in cases {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.contains(expected), "{text}: {said}");
            assert!(said.starts_with("line ") && !said.contains('\n'), "{said}");
        }
    }
}
