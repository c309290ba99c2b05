//! How long a machine that is not ours takes: lognormal, drawn from a seed and a key, so that a run can be repeated.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The slowest answer. Whoever asks gives up before that.
const LATENCY_MAX: Duration = Duration::from_secs(2);

/// 64 bits of FNV-1a: where it starts, and what each byte multiplies by.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    seed: u64,
    median_s: f64,
    sigma: f64,
}

impl Latency {
    /// `median_ms` of 0 is no latency at all. `whose` names the settings when they make no sense.
    pub(crate) fn new(seed: u64, median_ms: f64, sigma: f64, whose: &str) -> anyhow::Result<Latency> {
        anyhow::ensure!(
            median_ms.is_finite() && median_ms >= 0.0 && sigma.is_finite() && sigma >= 0.0,
            "median and sigma of the {whose}'s latency must be numbers from 0 up"
        );
        Ok(Latency { seed, median_s: median_ms / 1_000.0, sigma })
    }

    /// Waits as long as the other side takes for this request. The one wait in the product that is not work:
    /// it stands for machines that are not ours.
    pub(crate) async fn pass(&self, key: &str) {
        // Even a sleep of nothing would last until the timer's next millisecond.
        if self.median_s > 0.0 {
            tokio::time::sleep(self.of(key)).await;
        }
    }

    fn of(&self, key: &str) -> Duration {
        let mixed = key.bytes().fold(FNV_START, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        let mut dice = StdRng::seed_from_u64(self.seed ^ mixed);
        let seconds = self.median_s * (self.sigma * normal(&mut dice)).exp();
        Duration::try_from_secs_f64(seconds).unwrap_or(LATENCY_MAX).min(LATENCY_MAX)
    }
}

/// A standard normal number. Box and Muller: two uniform numbers make one normal.
pub(crate) fn normal(dice: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (dice.random(), dice.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(seed: u64) -> Latency {
        Latency::new(seed, 20.0, 0.5, "acquirer").expect("settings")
    }

    #[test]
    fn the_same_seed_and_key_take_the_same_time() {
        assert_eq!(latency(7).of("charge 42"), latency(7).of("charge 42"));
        assert_ne!(latency(7).of("charge 42"), latency(7).of("charge 43"));
        assert_ne!(latency(7).of("charge 42"), latency(8).of("charge 42"));
    }

    #[test]
    fn the_distribution_is_the_stated_one() {
        let mut drawn: Vec<f64> =
            (0..20_000).map(|n| latency(1).of(&format!("charge {n}")).as_secs_f64() * 1_000.0).collect();
        drawn.sort_by(f64::total_cmp);
        let (median, p99) = (drawn[10_000], drawn[19_800]);
        assert!((19.0..21.0).contains(&median), "median {median} ms");
        assert!((58.0..71.0).contains(&p99), "p99 {p99} ms"); // 20 ms * exp(0.5 * 2.326) = 64 ms
    }

    #[tokio::test(start_paused = true)]
    async fn a_median_of_nothing_takes_no_time() {
        let begun = tokio::time::Instant::now();
        Latency::new(1, 0.0, 0.5, "receiver").expect("settings").pass("a").await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
