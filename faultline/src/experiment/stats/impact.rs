//! The blast radius of a fault: which endpoints, how much, for how long.

use serde::Serialize;

use super::{Estimate, change, quantile};

/// What is called moved: the interval of the change lies above this, percent.
const MOVED_PCT: f64 = 5.0;
const SHARE: f64 = 0.95;

/// One endpoint during a short piece of time, by intended sending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// Since the fault began; negative before.
    pub(crate) at_s: f64,
    /// Latencies of successes, milliseconds.
    pub(crate) latencies_ms: Vec<f64>,
    pub(crate) failed: u64,
}

/// What the time of the run is made of, seconds since the fault began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) fault_s: f64,
    pub(crate) block_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Impact {
    pub(crate) endpoint: String,
    pub(crate) requests_before: u64,
    pub(crate) requests_during: u64,
    pub(crate) p95_before_ms: Option<f64>,
    pub(crate) p95_during_ms: Option<f64>,
    /// Change of the p95 from before to during, percent, with its interval.
    pub(crate) change_pct: Option<Estimate>,
    pub(crate) failed_before: u64,
    pub(crate) failed_during: u64,
    pub(crate) failed_after: u64,
    /// Slower than before beyond doubt, or failing where it did not.
    pub(crate) hurt: bool,
    /// From the fault's begin to the end of the last block that was slower than every block before, or failed.
    /// None when it was not hurt.
    pub(crate) hurt_for_s: Option<f64>,
}

pub(crate) fn impact(endpoint: &str, blocks: &[Block], span: Span, seed: u64) -> Impact {
    let within = |from: f64, to: f64| {
        blocks.iter().filter(move |block| block.at_s >= from && block.at_s < to).collect::<Vec<_>>()
    };
    let before = within(f64::NEG_INFINITY, 0.0);
    let during = within(0.0, span.fault_s);
    let after = within(span.fault_s, f64::INFINITY);
    let latencies =
        |blocks: &[&Block]| blocks.iter().map(|block| block.latencies_ms.clone()).collect::<Vec<Vec<f64>>>();
    let (calm, stormy) = (latencies(&before), latencies(&during));
    let change_pct = change(SHARE, &calm, &stormy, seed);
    let failed = |blocks: &[&Block]| blocks.iter().map(|block| block.failed).sum::<u64>();
    let requests =
        |blocks: &[&Block]| blocks.iter().map(|block| block.latencies_ms.len() as u64 + block.failed).sum::<u64>();
    let slower = change_pct.is_some_and(|change| change.low > MOVED_PCT);
    let hurt = slower || failed(&during) + failed(&after) > failed(&before);
    Impact {
        endpoint: endpoint.to_owned(),
        requests_before: requests(&before),
        requests_during: requests(&during),
        p95_before_ms: quantile(&mut calm.concat(), SHARE),
        p95_during_ms: quantile(&mut stormy.concat(), SHARE),
        change_pct,
        failed_before: failed(&before),
        failed_during: failed(&during),
        failed_after: failed(&after),
        hurt,
        hurt_for_s: hurt.then(|| hurt_for(&before, during.iter().chain(&after).copied(), span)).flatten(),
    }
}

fn hurt_for<'a>(before: &[&Block], since: impl Iterator<Item = &'a Block>, span: Span) -> Option<f64> {
    let p95 = |block: &Block| quantile(&mut block.latencies_ms.clone(), SHARE);
    let usual_max = before.iter().filter_map(|block| p95(block)).fold(0.0, f64::max);
    let bad = since.filter(|block| block.failed > 0 || p95(block).is_some_and(|p95| p95 > usual_max));
    bad.map(|block| block.at_s + span.block_s).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { fault_s: 30.0, block_s: 5.0 };

    /// Twelve blocks from -30 s on: `latency` says what a block at that time shows.
    fn blocks(latency: impl Fn(f64) -> f64, failed: impl Fn(f64) -> u64) -> Vec<Block> {
        let block = |at_s: f64| Block {
            at_s,
            latencies_ms: (0..40).map(|step| latency(at_s) * (1.0 + f64::from(step) / 200.0)).collect(),
            failed: failed(at_s),
        };
        (-6..10).map(|number| block(f64::from(number) * 5.0)).collect()
    }

    #[test]
    fn an_endpoint_that_is_slow_until_after_the_fault_is_hurt_that_long() {
        let slow = |at: f64| if (0.0..40.0).contains(&at) { 100.0 } else { 20.0 };
        let found = impact("pay", &blocks(slow, |_| 0), SPAN, 1);
        assert!(found.hurt, "{found:?}");
        assert_eq!(found.hurt_for_s, Some(40.0));
        assert_eq!(found.change_pct.map(|change| change.value.round()), Some(400.0));
    }

    #[test]
    fn an_endpoint_that_fails_is_hurt_though_it_is_quick() {
        let found = impact("pay", &blocks(|_| 20.0, |at| u64::from(at == 10.0)), SPAN, 1);
        assert!(found.hurt && found.failed_during == 1, "{found:?}");
        assert_eq!(found.hurt_for_s, Some(15.0));
    }

    #[test]
    fn an_endpoint_that_goes_on_as_before_is_not_hurt() {
        let found = impact("pay", &blocks(|_| 20.0, |_| 0), SPAN, 1);
        assert!(!found.hurt && found.hurt_for_s.is_none(), "{found:?}");
        assert_eq!((found.requests_before, found.requests_during), (240, 240));
    }
}
