//! When what failed is tried again: later each time, up to a limit, and not in step with others.

use std::time::Duration;

/// Doublings after which the limit is reached whatever the settings are.
const DOUBLINGS_MAX: u32 = 20;

#[derive(Debug)]
pub(crate) struct Pace {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Pace {
    pub(crate) fn new(min: Duration, max: Duration) -> Pace {
        Pace { min, max, failures: 0 }
    }

    /// The wait after one more failure. `after` is what the far end asked for, which counts when it is longer.
    pub(crate) fn failed(&mut self, after: Option<Duration>) -> Duration {
        let wait = self.min.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.max);
        self.failures += 1;
        // Half of it is certain, the other half is chance.
        let wait = wait.mul_f64(rand::random_range(0.5..=1.0));
        after.map_or(wait, |after| after.max(wait))
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_again_after_a_success() {
        let mut pace = Pace::new(Duration::from_millis(100), Duration::from_secs(1));
        for most in [100, 200, 400, 800, 1000, 1000] {
            let wait = pace.failed(None).as_millis();
            assert!(wait <= most && wait >= most / 2, "{wait} of {most}");
        }
        pace.succeeded();
        assert!(pace.failed(None) <= Duration::from_millis(100));
        (0..1000).for_each(|_| assert!(pace.failed(None) <= Duration::from_secs(1)));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(30));
        assert_eq!(pace.failed(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert!(pace.failed(Some(Duration::ZERO)) >= Duration::from_millis(500), "and ours when it is longer");
    }
}
