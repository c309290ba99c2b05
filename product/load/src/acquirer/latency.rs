//! How long the acquirer takes: lognormal, drawn from a seed and the payment, so that a run can be repeated.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// The slowest answer. A card network gives up before that.
const LATENCY_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    seed: u64,
    median_s: f64,
    sigma: f64,
}

impl Latency {
    pub(super) fn new(seed: u64, median_ms: f64, sigma: f64) -> anyhow::Result<Latency> {
        anyhow::ensure!(
            median_ms.is_finite() && median_ms >= 0.0 && sigma.is_finite() && sigma >= 0.0,
            "--acquirer-latency-median-ms and --acquirer-latency-sigma must be numbers from 0 up"
        );
        Ok(Latency { seed, median_s: median_ms / 1_000.0, sigma })
    }

    /// Waits as long as the acquirer takes for this request. The one wait in the product that is not work:
    /// it stands for machines that are not ours.
    pub(super) async fn pass(&self, payment: Uuid, operation: &str) {
        tokio::time::sleep(self.of(payment, operation)).await;
    }

    fn of(&self, payment: Uuid, operation: &str) -> Duration {
        let (high, low) = payment.as_u64_pair();
        // A refund of the payment is another request with a time of its own.
        let mut dice = StdRng::seed_from_u64(self.seed ^ high ^ low.rotate_left(32) ^ operation.len() as u64);
        // Box and Muller: two uniform numbers make one normal.
        let (radius, angle): (f64, f64) = (dice.random(), dice.random());
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let seconds = self.median_s * (self.sigma * normal).exp();
        Duration::try_from_secs_f64(seconds).unwrap_or(LATENCY_MAX).min(LATENCY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_payment_take_the_same_time() {
        let latency = Latency::new(7, 20.0, 0.5).expect("settings");
        let payment = Uuid::from_u128(42);
        assert_eq!(latency.of(payment, "charge"), latency.of(payment, "charge"));
        assert_ne!(latency.of(payment, "charge"), latency.of(Uuid::from_u128(43), "charge"));
        let other = Latency::new(8, 20.0, 0.5).expect("settings");
        assert_ne!(latency.of(payment, "charge"), other.of(payment, "charge"));
    }

    #[test]
    fn the_distribution_is_the_stated_one() {
        let latency = Latency::new(1, 20.0, 0.5).expect("settings");
        let mut drawn: Vec<f64> =
            (0..20_000).map(|n| latency.of(Uuid::from_u128(n), "charge").as_secs_f64() * 1_000.0).collect();
        drawn.sort_by(f64::total_cmp);
        let (median, p99) = (drawn[10_000], drawn[19_800]);
        assert!((19.0..21.0).contains(&median), "median {median} ms");
        assert!((58.0..71.0).contains(&p99), "p99 {p99} ms"); // 20 ms * exp(0.5 * 2.326) = 64 ms
    }
}
