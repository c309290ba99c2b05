//! Percentile bootstrap of what a quantile changed, over windows and the samples within them.
//!
//! Requests of one window share its weather (a compaction, a neighbour on the host), so they are not independent. Windows
//! are drawn first, then as many samples from each as it has; only so does the interval know about both.

use serde::Serialize;

use super::{Dice, quantile};

/// Redraws for one interval. The ends of a 95 % interval then rest on 50 redraws each.
const REDRAWS: usize = 2_000;
/// Both ends leave out this share.
const TAIL: f64 = 0.025;

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// `61.2 % [55.0, 66.1]`
    pub(crate) fn percent(&self) -> String {
        format!("{:.1} % [{:.1}, {:.1}]", self.value, self.low, self.high)
    }
}

/// Two windows with the same plan of requests, one in each arm, one after the other. Milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) control: Vec<f64>,
    pub(crate) candidate: Vec<f64>,
}

/// By how many percent the quantile of the candidate lies below that of the control, pooled over all pairs.
/// Pairs are drawn as pairs: what both windows of a pair shared stays shared.
pub(crate) fn reduction(share: f64, pairs: &[Pair], seed: u64) -> Option<Estimate> {
    if pairs.iter().all(|pair| pair.control.is_empty()) || pairs.iter().all(|pair| pair.candidate.is_empty()) {
        return None;
    }
    let statistic = |control: &mut [f64], candidate: &mut [f64]| {
        let control = quantile(control, share).filter(|value| *value > 0.0)?;
        Some(100.0 * (1.0 - quantile(candidate, share)? / control))
    };
    let mut control: Vec<f64> = pairs.iter().flat_map(|pair| pair.control.iter().copied()).collect();
    let mut candidate: Vec<f64> = pairs.iter().flat_map(|pair| pair.candidate.iter().copied()).collect();
    let value = statistic(&mut control, &mut candidate)?;
    redraw(value, seed, |dice| {
        control.clear();
        candidate.clear();
        for _ in pairs {
            let pair = &pairs[dice.below(pairs.len())];
            draw(dice, &pair.control, &mut control);
            draw(dice, &pair.candidate, &mut candidate);
        }
        statistic(&mut control, &mut candidate)
    })
}

/// By how many percent the quantile of `after` lies above that of `before`. Each is a list of short blocks of time, drawn
/// independently: there is no block of the one that belongs to a block of the other.
pub(crate) fn change(share: f64, before: &[Vec<f64>], after: &[Vec<f64>], seed: u64) -> Option<Estimate> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let statistic = |before: &mut [f64], after: &mut [f64]| {
        let before = quantile(before, share).filter(|value| *value > 0.0)?;
        Some(100.0 * (quantile(after, share)? / before - 1.0))
    };
    let (mut first, mut second) = (before.concat(), after.concat());
    let value = statistic(&mut first, &mut second)?;
    redraw(value, seed, |dice| {
        for (blocks, into) in [(before, &mut first), (after, &mut second)] {
            into.clear();
            for _ in blocks {
                let block = &blocks[dice.below(blocks.len())];
                draw(dice, block, into);
            }
        }
        statistic(&mut first, &mut second)
    })
}

/// As many as there are, each any of them.
fn draw(dice: &mut Dice, from: &[f64], into: &mut Vec<f64>) {
    into.extend((0..from.len()).map(|_| from[dice.below(from.len())]));
}

fn redraw(value: f64, seed: u64, mut once: impl FnMut(&mut Dice) -> Option<f64>) -> Option<Estimate> {
    let mut dice = Dice::new(seed);
    let mut values: Vec<f64> = (0..REDRAWS).filter_map(|_| once(&mut dice)).collect();
    Some(Estimate { value, low: quantile(&mut values, TAIL)?, high: quantile(&mut values, 1.0 - TAIL)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponential latencies: the p95 is `scale * ln 20`.
    fn window(dice: &mut Dice, scale: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| -scale * (1.0 - dice.next() as f64 / 2_f64.powi(64)).ln()).collect()
    }

    fn pairs(seed: u64, count: usize, scale: f64) -> Vec<Pair> {
        let mut dice = Dice::new(seed);
        let mut pair = || Pair { control: window(&mut dice, 100.0, 200), candidate: window(&mut dice, scale, 200) };
        (0..count).map(|_| pair()).collect()
    }

    #[test]
    fn a_known_reduction_lies_within_its_interval() {
        let estimate = reduction(0.95, &pairs(1, 5, 30.0), 1).expect("samples");
        assert!(estimate.low < 70.0 && 70.0 < estimate.high, "{estimate:?}");
        assert!(estimate.low > 60.0 && estimate.high < 80.0, "{estimate:?}");
        assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
    }

    #[test]
    fn no_difference_is_not_called_one() {
        let covered = (0..20).filter(|seed| {
            let estimate = reduction(0.95, &pairs(*seed, 5, 100.0), *seed).expect("samples");
            estimate.low <= 0.0 && 0.0 <= estimate.high
        });
        // A 95 % interval misses one in twenty; five of twenty would be a mistake in it.
        assert!(covered.count() > 15);
    }

    #[test]
    fn windows_that_differ_widen_the_interval() {
        let alike = pairs(3, 6, 50.0);
        let mut uneven = alike.clone();
        for pair in &mut uneven[..2] {
            pair.candidate.iter_mut().for_each(|value| *value *= 3.0);
        }
        let width = |pairs: &[Pair]| reduction(0.95, pairs, 1).map(|found| found.high - found.low).expect("samples");
        assert!(width(&uneven) > 3.0 * width(&alike), "{} against {}", width(&uneven), width(&alike));
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let pairs = pairs(5, 5, 30.0);
        assert_eq!(reduction(0.95, &pairs, 9), reduction(0.95, &pairs, 9));
        assert_ne!(reduction(0.95, &pairs, 9), reduction(0.95, &pairs, 10));
    }

    #[test]
    fn nothing_measured_is_nothing_claimed() {
        assert_eq!(reduction(0.95, &[], 1), None);
        assert_eq!(reduction(0.95, &[Pair { control: vec![1.0], candidate: Vec::new() }], 1), None);
        assert_eq!(change(0.95, &[], &[vec![1.0]], 1), None);
    }

    #[test]
    fn a_rise_is_positive_and_a_constant_is_certain() {
        let estimate = change(0.95, &vec![vec![100.0; 20]; 4], &vec![vec![150.0; 20]; 4], 1).expect("samples");
        assert_eq!(estimate, Estimate { value: 50.0, low: 50.0, high: 50.0 });
    }
}
