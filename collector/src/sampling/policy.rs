//! What is known of a trace, and what the policies say to it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::ids::TraceId;

use super::config::{self, Attribute, Rule, Share, Status};
use crate::access::rate::Rate;
use crate::processors::config::Pattern;
use crate::spans::Spans;

/// Mixed into the id: whoever sampled by the id alone before us has left no ids that this would treat alike.
const SALT: u64 = 0x7461_696c_2d73_616d;

/// A trace so far. Of a fixed size, however many spans it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    start_ns: i64,
    end_ns: i64,
    spans: u64,
    statuses: u8,
    /// A bit for each attribute that is asked for.
    attributes: u64,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts { start_ns: i64::MAX, end_ns: i64::MIN, spans: 0, statuses: 0, attributes: 0 }
    }
}

pub(super) struct Policies {
    /// Those that drop come first.
    policies: Vec<Policy>,
    attributes: Vec<Attribute>,
}

struct Policy {
    name: String,
    keeps: bool,
    rule: Check,
    traces: AtomicU64,
}

/// A rule with what it has used.
enum Check {
    Always,
    LatencyNs(i64),
    Status(u8),
    Attribute(u64),
    /// Hashes below it.
    Below(u64),
    Rate(Rate),
    All(Vec<Check>),
    Any(Vec<Check>),
    Not(Box<Check>),
    Shares(Vec<(Option<Rate>, Check)>),
}

/// Traces a policy had the say about, since the start.
#[derive(Clone, Debug)]
pub(crate) struct PolicyCount {
    pub(crate) name: String,
    pub(crate) keeps: bool,
    pub(crate) traces: u64,
}

impl Policies {
    pub(super) fn new(config: &config::Config) -> Policies {
        let mut attributes = Vec::new();
        let mut policies: Vec<Policy> = Vec::new();
        for policy in &config.policies {
            let (keeps, rule) = match (&policy.keep, &policy.drop) {
                (Some(rule), _) => (true, rule),
                (None, Some(rule)) => (false, rule),
                (None, None) => continue,
            };
            let rule = Check::new(rule, &mut attributes);
            policies.push(Policy { name: policy.name.clone(), keeps, rule, traces: AtomicU64::new(0) });
        }
        policies.sort_by_key(|policy| policy.keeps);
        Policies { policies, attributes }
    }

    pub(super) fn add(&self, facts: &mut Facts, spans: &Spans<'_>, row: usize) {
        facts.start_ns = facts.start_ns.min(spans.start_ns(row));
        facts.end_ns = facts.end_ns.max(spans.end_ns(row));
        facts.spans += 1;
        facts.statuses |= match spans.status(row) {
            "Error" => bit(Status::Error),
            "Ok" => bit(Status::Ok),
            _ => bit(Status::Unset),
        };
        for (at, attribute) in self.attributes.iter().enumerate() {
            let wanted = 1 << at;
            if facts.attributes & wanted == 0
                && spans.attribute(row, &attribute.key).is_some_and(|text| attribute.is(text))
            {
                facts.attributes |= wanted;
            }
        }
    }

    /// Whether the trace goes on. `now` is of a clock that only goes forward.
    pub(super) fn keep(&self, trace_id: &TraceId, facts: &Facts, now: Duration) -> bool {
        let first = self.policies.iter().find(|policy| policy.rule.holds(trace_id, facts, now));
        if let Some(policy) = first {
            policy.traces.fetch_add(1, Relaxed);
        }
        first.is_some_and(|policy| policy.keeps)
    }

    pub(super) fn counts(&self) -> Vec<PolicyCount> {
        let count =
            |of: &Policy| PolicyCount { name: of.name.clone(), keeps: of.keeps, traces: of.traces.load(Relaxed) };
        self.policies.iter().map(count).collect()
    }
}

impl Check {
    fn new(rule: &Rule, attributes: &mut Vec<Attribute>) -> Check {
        let mut all = |rules: &[Rule]| rules.iter().map(|rule| Check::new(rule, attributes)).collect::<Vec<_>>();
        match rule {
            Rule::Always => Check::Always,
            Rule::LatencyMs(ms) => Check::LatencyNs(i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)),
            Rule::Status(status) => Check::Status(bit(*status)),
            Rule::Attribute(attribute) => {
                attributes.push(attribute.clone());
                Check::Attribute(1 << (attributes.len() - 1))
            }
            Rule::Percentage(percentage) => Check::below(*percentage),
            Rule::SpansPerSecond(spans) => Check::Rate(Rate::new(*spans)),
            Rule::All(rules) => Check::All(all(rules)),
            Rule::Any(rules) => Check::Any(all(rules)),
            Rule::Not(rule) => Check::Not(Box::new(Check::new(rule, attributes))),
            Rule::Shares(shares) => {
                let share = |Share { percentage, rule }: &Share| {
                    let spans = (shares.spans_per_second.get() as f64 * percentage / 100.0) as u64;
                    (NonZeroU64::new(spans).map(Rate::new), Check::new(rule, attributes))
                };
                Check::Shares(shares.of.iter().map(share).collect())
            }
        }
    }

    fn below(percentage: f64) -> Check {
        // 2^64 is one more than there are.
        match percentage >= 100.0 {
            true => Check::Always,
            false => Check::Below((percentage / 100.0 * 2_f64.powi(64)) as u64),
        }
    }

    fn holds(&self, trace_id: &TraceId, facts: &Facts, now: Duration) -> bool {
        match self {
            Check::Always => true,
            Check::LatencyNs(min) => facts.end_ns.saturating_sub(facts.start_ns) >= *min,
            Check::Status(wanted) => facts.statuses & wanted != 0,
            Check::Attribute(wanted) => facts.attributes & wanted != 0,
            Check::Below(limit) => hash(trace_id) < *limit,
            Check::Rate(rate) => take(rate, facts, now),
            Check::All(checks) => checks.iter().all(|check| check.holds(trace_id, facts, now)),
            Check::Any(checks) => checks.iter().any(|check| check.holds(trace_id, facts, now)),
            Check::Not(check) => !check.holds(trace_id, facts, now),
            Check::Shares(shares) => {
                let first = shares.iter().find(|(_, check)| check.holds(trace_id, facts, now));
                first.is_some_and(|(rate, _)| rate.as_ref().is_some_and(|rate| take(rate, facts, now)))
            }
        }
    }
}

impl Attribute {
    fn is(&self, text: &str) -> bool {
        let number = || text.parse::<f64>();
        self.equals.as_ref().is_none_or(|wanted| wanted == text)
            && (self.one_of.is_empty() || self.one_of.iter().any(|wanted| wanted == text))
            && self.matches.as_ref().is_none_or(|Pattern(pattern)| pattern.is_match(text))
            && self.min.is_none_or(|min| number().is_ok_and(|number| number >= min))
            && self.max.is_none_or(|max| number().is_ok_and(|number| number <= max))
    }
}

/// The whole trace or nothing of it. One that is larger than what is left is paid for by those after it.
fn take(rate: &Rate, facts: &Facts, now: Duration) -> bool {
    let free = rate.check(now).is_ok();
    if free {
        rate.charge(facts.spans as usize, now);
    }
    free
}

fn bit(status: Status) -> u8 {
    1 << status as u8
}

/// Evenly spread, whatever the ids are like (the finalizer of SplitMix64, on each half).
fn hash(trace_id: &TraceId) -> u64 {
    let halves = [&trace_id[..8], &trace_id[8..]];
    halves.iter().fold(SALT, |hash, half| {
        let half = half.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let mut mixed = (hash ^ half).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::config::parse;

    const SECOND: Duration = Duration::from_secs(1);

    fn policies(policies: &str) -> Policies {
        let text = format!("[tail-sampling]\npolicies = [{}]", policies.replace('\n', " "));
        Policies::new(&parse(&text).expect("they make sense"))
    }

    /// A trace with these attributes of spans as OTLP/JSON, as the sampler sees it.
    fn facts(of: &Policies, spans: &[&str]) -> Facts {
        let spans: Vec<String> = spans.iter().enumerate().map(|(at, more)| format!(
            r#"{{"traceId":"00000000000000000000000000000001","spanId":"{:016x}","startTimeUnixNano":"{}",{more}}}"#,
            at + 1, 1_000_000_000 + at * 100_000_000
        )).collect();
        let request = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
               "scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            spans.join(",")
        );
        let batches = model::decode_json(model::Signal::Traces, request.as_bytes()).expect("it is OTLP").batches;
        let spans = Spans::of(&batches[0]).expect("they are spans");
        let mut facts = Facts::default();
        (0..spans.len()).for_each(|row| of.add(&mut facts, &spans, row));
        facts
    }

    fn keeps(rule: &str, spans: &[&str]) -> bool {
        let policies = policies(&format!(r#"{{ name = "it", keep = {rule} }}"#));
        let facts = facts(&policies, spans);
        policies.keep(&[1; 16], &facts, SECOND)
    }

    const QUICK: &str = r#""endTimeUnixNano":"1000500000""#;
    const FAILED: &str = r#""endTimeUnixNano":"1100500000","status":{"code":2}"#;
    const GOLD: &str = r#""endTimeUnixNano":"1000500000","attributes":[
        {"key":"tenant","value":{"stringValue":"gold"}},{"key":"code","value":{"intValue":"503"}}]"#;

    #[test]
    fn latency_is_from_the_first_start_to_the_last_end() {
        assert!(!keeps("{ latency_ms = 1 }", &[QUICK]));
        assert!(keeps("{ latency_ms = 100 }", &[QUICK, FAILED]));
        assert!(!keeps("{ latency_ms = 101 }", &[QUICK, FAILED]));
    }

    #[test]
    fn one_span_is_enough_for_a_status_or_an_attribute() {
        assert!(keeps(r#"{ status = "Error" }"#, &[QUICK, FAILED, QUICK]));
        assert!(!keeps(r#"{ status = "Error" }"#, &[QUICK]) && keeps(r#"{ status = "Unset" }"#, &[QUICK]));
        for (rule, gold) in [
            (r#"{ attribute = { key = "tenant" } }"#, true),
            (r#"{ attribute = { key = "tenant", equals = "gold" } }"#, true),
            (r#"{ attribute = { key = "tenant", one_of = ["silver", "gold"] } }"#, true),
            (r#"{ attribute = { key = "tenant", equals = "silver" } }"#, false),
            (r#"{ attribute = { key = "tenant", matches = "^g.ld$" } }"#, true),
            (r#"{ attribute = { key = "tenant", matches = "^old$" } }"#, false),
            (r#"{ attribute = { key = "code", min = 500, max = 599 } }"#, true),
            (r#"{ attribute = { key = "code", min = 504 } }"#, false),
            (r#"{ attribute = { key = "tenant", min = 0 } }"#, false),
        ] {
            assert_eq!(keeps(rule, &[QUICK, GOLD]), gold, "{rule}");
            assert!(!keeps(rule, &[QUICK]), "{rule}");
        }
        assert!(keeps(r#"{ attribute = { key = "service.name", equals = "shop" } }"#, &[QUICK]), "of the resource");
    }

    #[test]
    fn rules_are_put_together() {
        let (failed, slow) = (r#"{ status = "Error" }"#, "{ latency_ms = 100 }");
        assert!(keeps(&format!("{{ all = [{failed}, {slow}] }}"), &[QUICK, FAILED]));
        assert!(!keeps(&format!("{{ all = [{failed}, {slow}] }}"), &[QUICK, QUICK]));
        assert!(!keeps(&format!("{{ all = [{failed}, {{ latency_ms = 200 }}] }}"), &[FAILED]));
        assert!(keeps(&format!("{{ any = [{{ latency_ms = 200 }}, {failed}] }}"), &[FAILED]));
        assert!(
            !keeps(&format!("{{ not = {failed} }}"), &[FAILED]) && keeps(&format!("{{ not = {failed} }}"), &[QUICK])
        );
    }

    #[test]
    fn a_drop_comes_before_every_keep_and_nobody_is_no() {
        let policies = policies(
            r#"{ name = "failed", keep = { status = "Error" } }, { name = "gold", drop = { attribute = { key = "tenant" } } }"#,
        );
        let keep = |spans: &[&str]| policies.keep(&[1; 16], &facts(&policies, spans), SECOND);
        assert_eq!((keep(&[FAILED]), keep(&[FAILED, GOLD]), keep(&[QUICK])), (true, false, false));
        let counts: Vec<_> = policies.counts().into_iter().map(|of| (of.name, of.keeps, of.traces)).collect();
        assert_eq!(counts, [("gold".to_owned(), false, 1), ("failed".to_owned(), true, 1)]);
    }

    #[test]
    fn a_percentage_is_of_traces_and_always_the_same_ones() {
        let share = |percentage: &str| {
            let policies = policies(&format!(r#"{{ name = "some", keep = {{ percentage = {percentage} }} }}"#));
            let facts = facts(&policies, &[QUICK]);
            // The worst ids there are.
            let ids = (1..=10_000_u128).map(u128::to_be_bytes);
            ids.filter(|id| policies.keep(id, &facts, SECOND)).collect::<Vec<TraceId>>()
        };
        let tenth = share("10");
        assert!((900..1100).contains(&tenth.len()), "{}", tenth.len());
        assert_eq!(tenth, share("10"));
        let twentieth = share("5.0");
        assert!(twentieth.iter().all(|id| tenth.contains(id)), "who keeps more keeps these too");
        assert_eq!((share("0").len(), share("100").len()), (0, 10_000));
    }

    #[test]
    fn a_rate_is_of_spans_and_only_what_is_wanted_uses_it() {
        let policies =
            policies(r#"{ name = "some", keep = { all = [{ status = "Error" }, { spans_per_second = 10 }] } }"#);
        let (failed, quick) = (facts(&policies, &[FAILED, QUICK]), facts(&policies, &[QUICK]));
        let kept = |now: Duration| {
            (0..100).filter(|_| policies.keep(&[1; 16], &quick, now) | policies.keep(&[1; 16], &failed, now)).count()
        };
        // One more than fits is paid for later.
        assert_eq!((kept(SECOND), kept(SECOND), kept(SECOND * 100)), (6, 0, 6));
    }

    #[test]
    fn shares_are_used_by_the_first_rule_that_holds() {
        let policies = policies(
            r#"{ name = "shares", keep = { shares = { spans_per_second = 100, of = [
                { percentage = 50, rule = { status = "Error" } }, { percentage = 10, rule = "always" }] } } }"#,
        );
        let (failed, quick) = (facts(&policies, &[FAILED]), facts(&policies, &[QUICK]));
        let kept = |facts: &Facts| (0..1000).filter(|_| policies.keep(&[1; 16], facts, SECOND)).count();
        assert_eq!((kept(&failed), kept(&quick)), (51, 11));
    }
}
