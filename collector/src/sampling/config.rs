//! The table `[tail-sampling]` of a TOML file, `faultline.toml` as a rule.

use std::num::NonZeroU64;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;

use crate::processors::config::Pattern;

/// Everything that can be declared, in the words it is declared in.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A trace's policies are told apart by a bit each: more attributes than that are more than anybody can follow.
pub(super) const ATTRIBUTES_MAX: usize = 64;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// From the first span of a trace to the decision, milliseconds. What comes later follows it. OpenTelemetry's default
    #[serde(default = "decision_wait_ms")]
    pub(super) decision_wait_ms: u64,
    /// Traces that wait for their decision; beyond it the oldest is decided early. OpenTelemetry's default
    #[serde(default = "traces_max")]
    pub(super) traces_max: usize,
    /// Spans of which it is not decided yet, 4 B each; beyond it the oldest traces are decided early. 100,000 a second for 40 s
    #[serde(default = "spans_max")]
    pub(super) spans_max: usize,
    /// Decisions that late spans can follow, some 60 B each. Four times the traces that wait
    #[serde(default = "decisions_max")]
    pub(super) decisions_max: usize,
    pub(super) policies: Vec<Policy>,
}

/// Either of the two. A trace that any `drop` is about goes nowhere, one that a `keep` is about goes on, and so does no other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) keep: Option<Rule>,
    pub(super) drop: Option<Rule>,
}

/// What a trace has to be like.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Rule {
    Always,
    /// From its first start to its last end, at least.
    LatencyMs(u64),
    /// Of any of its spans: Error, Ok or Unset.
    Status(Status),
    /// Of any of its spans, or of their resource.
    Attribute(Attribute),
    /// This part of all traces, by their ids: the same ones after a restart and in another collector.
    Percentage(f64),
    /// As long as no more spans than these have gone on.
    SpansPerSecond(NonZeroU64),
    /// All of them; a limited rate belongs at the end, where it is used by what the others want.
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    /// A rate and who gets which part of it. The first whose rule holds has the say.
    Shares(Shares),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Status {
    Unset,
    Ok,
    Error,
}

/// All that is given has to hold, and the key has to be there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) equals: Option<String>,
    #[serde(default)]
    pub(super) one_of: Vec<String>,
    pub(super) matches: Option<Pattern>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shares {
    pub(super) spans_per_second: NonZeroU64,
    pub(super) of: Vec<Share>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    /// Of the spans per second.
    pub(super) percentage: f64,
    pub(super) rule: Rule,
}

fn decision_wait_ms() -> u64 {
    30_000
}

fn traces_max() -> usize {
    50_000
}

fn spans_max() -> usize {
    4_000_000
}

fn decisions_max() -> usize {
    200_000
}

/// The table in the file at `path`.
pub(super) fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("could not read the policies of --tail-sampling from {}", path.display()))?;
    parse(&text).with_context(|| format!("the policies in {} are not understood", path.display()))
}

pub(super) fn parse(text: &str) -> anyhow::Result<Config> {
    /// Other tables are for others.
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "tail-sampling")]
        tail_sampling: Option<Config>,
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| text.floor_char_boundary(span.start));
        anyhow!("line {}: {}", text[..before].matches('\n').count() + 1, error.message())
    })?;
    let Some(config) = file.tail_sampling else { bail!("it has no table [tail-sampling]; leave --tail-sampling out") };
    ensure!(!config.policies.is_empty(), "without a policy nothing would go on; leave --tail-sampling out");
    for policy in &config.policies {
        let name = &policy.name;
        ensure!(policy.keep.is_some() != policy.drop.is_some(), "policy {name:?} has either `keep` or `drop`");
        for rule in policy.keep.iter().chain(&policy.drop) {
            rule.check().with_context(|| format!("policy {name:?} makes no sense"))?;
        }
    }
    let attributes: usize = config.rules().map(Rule::attributes).sum();
    ensure!(attributes <= ATTRIBUTES_MAX, "{attributes} attributes are asked for, at most {ATTRIBUTES_MAX} can be");
    Ok(config)
}

impl Config {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.policies.iter().flat_map(|policy| policy.keep.iter().chain(&policy.drop))
    }
}

impl Rule {
    fn inner(&self) -> Box<dyn Iterator<Item = &Rule> + '_> {
        match self {
            Rule::All(rules) | Rule::Any(rules) => Box::new(rules.iter()),
            Rule::Not(rule) => Box::new(std::iter::once(&**rule)),
            Rule::Shares(shares) => Box::new(shares.of.iter().map(|share| &share.rule)),
            _ => Box::new(std::iter::empty()),
        }
    }

    fn attributes(&self) -> usize {
        usize::from(matches!(self, Rule::Attribute(_))) + self.inner().map(Rule::attributes).sum::<usize>()
    }

    fn check(&self) -> anyhow::Result<()> {
        match self {
            Rule::Percentage(percentage) => is_percentage(*percentage)?,
            Rule::All(rules) | Rule::Any(rules) => ensure!(!rules.is_empty(), "`all` and `any` need rules"),
            Rule::Shares(shares) => {
                ensure!(!shares.of.is_empty(), "`shares` needs rules to share between");
                shares.of.iter().try_for_each(|share| is_percentage(share.percentage))?;
                let sum: f64 = shares.of.iter().map(|share| share.percentage).sum();
                ensure!(sum <= 100.0, "the shares are {sum} %, more than there is");
            }
            _ => {}
        }
        self.inner().try_for_each(Rule::check)
    }
}

fn is_percentage(number: f64) -> anyhow::Result<()> {
    ensure!((0.0..=100.0).contains(&number), "a percentage is a number from 0 to 100, not {number}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(policies: &str) -> String {
        let text = format!("[tail-sampling]\npolicies = [{policies}]");
        format!("{:#}", parse(&text).expect_err("it makes no sense"))
    }

    #[test]
    fn the_example_has_every_word_and_the_defaults() {
        let example = parse(EXAMPLE).expect("it is right");
        let plain = parse("[tail-sampling]\npolicies = [{ name = \"all\", keep = \"always\" }]").expect("it is right");
        let limits = |of: &Config| (of.decision_wait_ms, of.traces_max, of.spans_max, of.decisions_max);
        assert_eq!(limits(&example), limits(&plain));
        let source = include_str!("config.rs");
        let words = source.split("pub(super) enum Rule {").nth(1).expect("it is there").split("}\n").next();
        let variants =
            words.expect("it ends").lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
        for variant in variants {
            let name = variant.split(['(', ',']).next().expect("a name");
            let word = name.char_indices().fold(String::new(), |word, (at, letter)| {
                let gap = if at > 0 && letter.is_uppercase() { "_" } else { "" };
                word + gap + &letter.to_lowercase().to_string()
            });
            assert!(EXAMPLE.contains(&word), "{word} is not in the example");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_the_name_of_the_policy() {
        assert!(error("").contains("nothing would go on"));
        assert!(error(r#"{ name = "a" }"#).contains(r#"policy "a" has either"#));
        assert!(error(r#"{ name = "a", keep = "always", drop = "always" }"#).contains("either"));
        assert!(error(r#"{ name = "a", keep = { percentage = 101 } }"#).contains("from 0 to 100"));
        assert!(error(r#"{ name = "a", keep = { not = { all = [] } } }"#).contains("need rules"));
        assert!(error(r#"{ name = "a", keep = { spans_per_second = 0 } }"#).contains("nonzero"));
        assert!(error(r#"{ name = "a", keep = { status = "Bad" } }"#).contains("Bad"));
        let unknown = error(r#"{ name = "a", keep = { latency = 5 } }"#);
        assert!(unknown.starts_with("line 2: ") && unknown.contains("latency_ms"), "it says what there is: {unknown}");
        let shares = r#"{ name = "a", keep = { shares = { spans_per_second = 9, of = [
            { percentage = 60, rule = "always" }, { percentage = 50, rule = "always" }] } } }"#;
        assert!(error(&shares.replace('\n', "")).contains("110 %"));
        assert!(parse("[other]").is_err());
    }
}
