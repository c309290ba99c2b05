//! Latencies in fixed memory: buckets of at most 1.6 % width, from a microsecond to an hour.

use std::time::Duration;

/// Buckets to each power of two.
const STEPS: u64 = 64;
const POWERS: u64 = 32;

pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; (STEPS * POWERS) as usize], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let bucket = bucket(latency.as_micros() as u64).min(self.buckets.len() - 1);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(latency);
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (into, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *into += from;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The upper bound of the bucket that holds the quantile; zero without values.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_bound(bucket as u64)).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn max(&self) -> Duration {
        self.max
    }
}

/// Values below `STEPS` have a bucket each; above, the leading bits decide.
fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEPS.ilog2();
    ((u64::from(shift) + 1) * STEPS + (micros >> shift) - STEPS) as usize
}

fn upper_bound(bucket: u64) -> u64 {
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket() {
        for micros in [0, 1, 63, 64, 65, 127, 128, 1_000, 12_345, 999_999, 3_600_000_000] {
            let upper = upper_bound(bucket(micros) as u64);
            assert!(
                upper >= micros && upper as f64 <= micros as f64 * 1.016 + 1.0,
                "{micros} is in the bucket up to {upper}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_uniform_second() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|millis| histogram.record(Duration::from_millis(millis)));
        let p50 = histogram.quantile(0.5).as_secs_f64();
        let p99 = histogram.quantile(0.99).as_secs_f64();
        assert!((0.5..0.51).contains(&p50) && (0.99..=1.0).contains(&p99), "p50 {p50}, p99 {p99}");
        assert_eq!(histogram.quantile(1.0), Duration::from_secs(1));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
