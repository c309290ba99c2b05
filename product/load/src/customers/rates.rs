//! How many requests a second, and for how long.

use std::str::FromStr;
use std::time::Duration;

/// `50`: fifty a second without an end. `50@20s,200@1m`: fifty for twenty seconds, then two hundred for a minute, then
/// the end. `50@20s,200`: two hundred from then on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates(Vec<Stretch>);

/// A time of one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    /// Requests a second on average, above 0.
    rate: f64,
    /// From the start of the run; none on a last one without an end.
    until_s: Option<f64>,
}

impl Rates {
    /// The highest of them.
    pub(super) fn peak(&self) -> f64 {
        self.0.iter().map(|stretch| stretch.rate).fold(0.0, f64::max)
    }

    /// The moment, after `at_s`, by which `arrivals` more are expected; none when the rates end before.
    pub(super) fn after(&self, mut at_s: f64, mut arrivals: f64) -> Option<f64> {
        for stretch in &self.0 {
            let Some(until_s) = stretch.until_s else { return Some(at_s + arrivals / stretch.rate) };
            let expected = (until_s - at_s).max(0.0) * stretch.rate;
            if arrivals < expected {
                return Some(at_s + arrivals / stretch.rate);
            }
            arrivals -= expected;
            at_s = at_s.max(until_s);
        }
        None
    }
}

impl FromStr for Rates {
    type Err = String;

    fn from_str(text: &str) -> Result<Rates, String> {
        let mut stretches = Vec::new();
        let mut end = Some(0.0);
        for part in text.split(',') {
            let began = end.ok_or("only the last rate may be without a time")?;
            let (rate, lasting) = match part.trim().split_once('@') {
                Some((rate, lasting)) => (rate, Some(duration(lasting)?)),
                None => (part.trim(), None),
            };
            let rate: f64 = rate.parse().map_err(|_| format!("{rate:?} is no number of requests a second"))?;
            if !(rate.is_finite() && rate > 0.0) {
                return Err("a rate is a number above 0".to_owned());
            }
            end = lasting.map(|lasting| began + lasting.as_secs_f64());
            stretches.push(Stretch { rate, until_s: end });
        }
        Ok(Rates(stretches))
    }
}

/// `500ms`, `60s`, `10m`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is no time; write 500ms, 60s, 10m or 1h"))?;
    Duration::try_from(span).map_err(|_| format!("{text:?} lies in the past"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rates: &str, at_s: f64, arrivals: f64) -> Option<f64> {
        rates.parse::<Rates>().expect("rates").after(at_s, arrivals)
    }

    #[test]
    fn a_rate_alone_has_no_end() {
        assert_eq!(after("50", 3.0, 100.0), Some(5.0));
    }

    #[test]
    fn arrivals_go_on_where_the_rate_changes() {
        // 10 in the first second, then 20 a second.
        assert_eq!(after("10@1s,20", 0.5, 4.0), Some(0.9));
        assert_eq!(after("10@1s,20", 0.5, 15.0), Some(1.5));
        assert_eq!(after("10@1s,20@1s,1", 0.0, 31.0), Some(3.0));
        assert_eq!(after("10@1s,20@1s", 0.0, 29.0), Some(1.95));
        assert_eq!(after("10@1s,20@1s", 0.0, 30.0), None, "it has ended");
    }

    #[test]
    fn what_is_no_rate_is_said() {
        for text in ["", "0", "-1", "inf", "many", "50@", "50@20", "50,60", "50@-1s"] {
            assert!(text.parse::<Rates>().is_err(), "{text:?}");
        }
        assert_eq!("5@1s,70@1m,6".parse::<Rates>().expect("rates").peak(), 70.0);
    }
}
