//! Latencies in bounded memory: a histogram whose buckets grow with the value.
//!
//! 32 buckets to each doubling, so a percentile is read with an error of at most 1/32, about 3 %.

use std::time::Duration;

const BUCKETS_PER_DOUBLING: u64 = 32;
/// From 1 µs to 2^32 µs, more than an hour; what is beyond counts as the last bucket.
const DOUBLINGS: u64 = 32;
const BUCKETS: usize = (BUCKETS_PER_DOUBLING * DOUBLINGS) as usize;

#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    pub(super) fn new() -> Latencies {
        Latencies { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The latency that `share` of all stayed at or below; zero when there is none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(bucket));
            }
        }
        Duration::ZERO
    }
}

/// Values below one doubling have buckets of their own; above, the top bits choose.
fn bucket(micros: u64) -> usize {
    if micros < BUCKETS_PER_DOUBLING {
        return micros as usize;
    }
    let doubling = u64::from(micros.ilog2() - BUCKETS_PER_DOUBLING.ilog2());
    let within = (micros >> doubling) - BUCKETS_PER_DOUBLING;
    let bucket = (doubling + 1) * BUCKETS_PER_DOUBLING + within;
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (doubling, within) = (bucket / BUCKETS_PER_DOUBLING, bucket % BUCKETS_PER_DOUBLING);
    match doubling.checked_sub(1) {
        None => within,
        Some(doubling) => ((BUCKETS_PER_DOUBLING + within + 1) << doubling) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_it_says() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 60_000_000, 3_600_000_000]) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros, "{micros} is above the end {upper} of its bucket");
            assert!(upper - micros <= micros / 32 + 1, "{micros} is told as {upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        for millis in 1..=1_000 {
            latencies.add(Duration::from_millis(millis));
        }
        for (share, millis) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let told = latencies.quantile(share).as_secs_f64() * 1_000.0;
            assert!((millis..millis * 1.04).contains(&told), "p{share} is {told} ms, {millis} ms expected");
        }
    }
}
