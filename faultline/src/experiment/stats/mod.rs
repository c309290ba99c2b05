//! What can be said about measured numbers, and how surely. Pure: no clock, no I/O, the same seed gives the same answer.

mod bootstrap;
mod dice;
mod impact;
mod knee;

pub(crate) use bootstrap::{Estimate, Pair, change, reduction};
pub(crate) use dice::Dice;
pub(crate) use impact::{Block, Impact, Span, impact};
pub(crate) use knee::{Knee, Ladder, Point, knee, next_rate};

/// The value that `share` of all values do not exceed (nearest rank). None without values. Reorders them.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    let rank = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(rank, f64::total_cmp).1)
}

pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.95), Some(95.0));
        assert_eq!(quantile(&mut values, 0.0), Some(1.0));
        assert_eq!(quantile(&mut values, 1.0), Some(100.0));
        assert_eq!(quantile(&mut [7.0], 0.5), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_mean_of_nothing_is_nothing() {
        assert_eq!(mean([1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(mean([]), None);
    }
}
