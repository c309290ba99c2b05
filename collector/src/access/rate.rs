//! So much a second, with a second's worth at once.
//!
//! One number: until when what was taken is paid for. Taking moves it on by the units' share of a second, time catches up with
//! it, and whoever is ahead by more than a second waits. No clock in here: the caller says what time it is.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How far ahead of the clock a client may be: what it may send at once after a silence.
const AHEAD_MAX_NS: u64 = 1_000_000_000;
const SECOND_NS: u128 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Rate {
    per_second: NonZeroU64,
    /// Nanoseconds on the caller's clock.
    paid_until_ns: AtomicU64,
}

impl Rate {
    pub(crate) fn new(per_second: NonZeroU64) -> Rate {
        Rate { per_second, paid_until_ns: AtomicU64::new(0) }
    }

    pub(crate) fn per_second(&self) -> u64 {
        self.per_second.get()
    }

    /// Takes one unit, or says how long to wait for it.
    pub(crate) fn take(&self, now: Duration) -> Result<(), Duration> {
        let (now_ns, cost_ns) = (nanoseconds(now), self.cost_ns(1));
        let taken = self.paid_until_ns.fetch_update(Relaxed, Relaxed, |paid_until_ns| {
            let next = paid_until_ns.max(now_ns).saturating_add(cost_ns);
            (next.saturating_sub(now_ns) <= AHEAD_MAX_NS).then_some(next)
        });
        match taken {
            Ok(_) => Ok(()),
            Err(paid_until_ns) => {
                let next = paid_until_ns.max(now_ns).saturating_add(cost_ns);
                Err(Duration::from_nanos(next.saturating_sub(now_ns).saturating_sub(AHEAD_MAX_NS)))
            }
        }
    }

    /// Whether more may come, or how long to wait until then.
    pub(crate) fn check(&self, now: Duration) -> Result<(), Duration> {
        let ahead_ns = self.paid_until_ns.load(Relaxed).saturating_sub(nanoseconds(now));
        match ahead_ns.checked_sub(AHEAD_MAX_NS) {
            None | Some(0) => Ok(()),
            Some(wait_ns) => Err(Duration::from_nanos(wait_ns)),
        }
    }

    /// Takes units that are here already: whoever comes next waits for them.
    pub(crate) fn charge(&self, units: usize, now: Duration) {
        let (now_ns, cost_ns) = (nanoseconds(now), self.cost_ns(units as u64));
        let later = |paid_until_ns: u64| Some(paid_until_ns.max(now_ns).saturating_add(cost_ns));
        let _ = self.paid_until_ns.fetch_update(Relaxed, Relaxed, later);
    }

    fn cost_ns(&self, units: u64) -> u64 {
        let cost_ns = u128::from(units) * SECOND_NS / u128::from(self.per_second.get());
        u64::try_from(cost_ns).unwrap_or(u64::MAX)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64) -> Rate {
        Rate::new(NonZeroU64::new(per_second).expect("not zero"))
    }

    #[test]
    fn a_seconds_worth_at_once_and_then_one_at_a_time() {
        let (rate, start) = (rate(10), Duration::from_secs(100));
        for _ in 0..10 {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(start + Duration::from_millis(99)), Err(Duration::from_millis(1)));
        assert_eq!(rate.take(start + Duration::from_millis(100)), Ok(()));
        assert!(rate.take(start + Duration::from_millis(100)).is_err(), "what was refused was not taken");
        for _ in 0..10 {
            assert_eq!(rate.take(start + Duration::from_secs(60)), Ok(()), "a silence saves up one second, not sixty");
        }
        assert!(rate.take(start + Duration::from_secs(60)).is_err());
    }

    #[test]
    fn what_is_larger_than_a_second_is_paid_for_by_those_after_it() {
        let (rate, start) = (rate(1000), Duration::from_secs(100));
        assert_eq!(rate.check(start), Ok(()));
        rate.charge(5000, start);
        assert_eq!(rate.check(start), Err(Duration::from_secs(4)));
        assert_eq!(rate.check(start + Duration::from_secs(4)), Ok(()));
    }
}
