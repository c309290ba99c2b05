//! What W3C's `tracestate` says about sampling: `ot=th:c;rv:0123456789abcd`, among members of others.

use super::threshold::{Randomness, Threshold};

/// The member of OpenTelemetry, and what it has of sampling.
const MEMBER: &str = "ot";
const THRESHOLD: &str = "th";
const RANDOMNESS: &str = "rv";
/// Members of one `tracestate`, by W3C's rule; the last leave.
const MEMBERS_MAX: usize = 32;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sampling {
    pub(super) threshold: Option<Threshold>,
    /// Instead of the trace id's.
    pub(super) randomness: Option<Randomness>,
}

impl Sampling {
    /// What makes no sense counts as absent.
    pub(super) fn of(state: &str) -> Sampling {
        if state.is_empty() {
            return Sampling::default();
        }
        let value = |wanted| fields(state).find(|(key, _)| *key == wanted).map(|(_, value)| value);
        Sampling {
            threshold: value(THRESHOLD).and_then(Threshold::read),
            randomness: value(RANDOMNESS).and_then(Randomness::read),
        }
    }
}

/// The state with that threshold. The member that changed comes first, as W3C wants it.
pub(super) fn with_threshold(state: &str, threshold: Threshold) -> String {
    let mut written = format!("{MEMBER}={THRESHOLD}:{}", threshold.digits());
    for (key, value) in fields(state).filter(|(key, _)| *key != THRESHOLD) {
        written.push_str(&format!(";{key}:{value}"));
    }
    for (key, value) in members(state).filter(|(key, _)| *key != MEMBER).take(MEMBERS_MAX - 1) {
        written.push_str(&format!(",{key}={value}"));
    }
    written
}

fn members(state: &str) -> impl Iterator<Item = (&str, &str)> {
    state.split(',').filter_map(|member| member.trim().split_once('='))
}

fn fields(state: &str) -> impl Iterator<Item = (&str, &str)> {
    let ours = members(state).find(|(key, _)| *key == MEMBER).map_or("", |(_, value)| value);
    ours.split(';').filter_map(|field| field.split_once(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(digits: &str) -> Threshold {
        Threshold::read(digits).expect("hex digits")
    }

    #[test]
    fn the_threshold_comes_first_and_the_rest_stays() {
        for (state, expected) in [
            ("", "ot=th:c"),
            ("ot=th:8", "ot=th:c"),
            ("congo=t61", "ot=th:c,congo=t61"),
            (
                "congo=t61, ot=rv:0123456789abcd;th:8;p:1 ,rojo=00f0",
                "ot=th:c;rv:0123456789abcd;p:1,congo=t61,rojo=00f0",
            ),
            ("tenant@ot=th:8", "ot=th:c,tenant@ot=th:8"),
        ] {
            assert_eq!(with_threshold(state, threshold("c")), expected);
            assert_eq!(Sampling::of(expected).threshold, Some(threshold("c")));
        }
        let many: Vec<String> = (0..MEMBERS_MAX).map(|number| format!("k{number}=v")).collect();
        let full = with_threshold(&many.join(","), threshold("c"));
        assert_eq!(full.split(',').count(), MEMBERS_MAX);
        assert!(full.starts_with("ot=th:c,k0=v") && full.ends_with(",k30=v"), "{full}");
    }

    #[test]
    fn what_makes_no_sense_counts_as_absent() {
        for state in ["ot", "ot=", "ot=th", "ot=th:", "ot=th:xyz;rv:1", "other=th:8", "=,;:"] {
            assert_eq!(Sampling::of(state), Sampling::default(), "{state}");
        }
        assert_eq!(Sampling::of("ot=rv:ffffffffffffff").randomness, Randomness::read("ffffffffffffff"));
    }
}
