//! Work that has begun and not ended: how much, and since when the oldest of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub(crate) struct AtWork(Mutex<Begun>);

#[derive(Default)]
struct Begun {
    next: u64,
    /// By number, and so by age.
    since: BTreeMap<u64, Instant>,
}

/// One piece of work; it ends when this is dropped.
pub(crate) struct Working {
    of: Arc<AtWork>,
    number: u64,
}

impl AtWork {
    pub(crate) fn begin(self: &Arc<Self>) -> Working {
        let mut begun = self.begun();
        let number = begun.next;
        begun.next += 1;
        begun.since.insert(number, Instant::now());
        Working { of: Arc::clone(self), number }
    }

    /// How many are at work, and the milliseconds that the oldest has taken; 0 when there is none.
    pub(crate) fn count_and_oldest_ms(&self) -> (usize, u64) {
        let begun = self.begun();
        let oldest_ms = begun.since.values().next().map_or(0, |since| since.elapsed().as_millis() as u64);
        (begun.since.len(), oldest_ms)
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.of.begun().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_until_it_ends() {
        let at_work = Arc::new(AtWork::default());
        let first = at_work.begin();
        while at_work.count_and_oldest_ms().1 < 5 {}
        let second = at_work.begin();
        assert_eq!(at_work.count_and_oldest_ms().0, 2);
        assert!(at_work.count_and_oldest_ms().1 >= 5, "the first is the oldest");
        drop(first);
        assert_eq!(at_work.count_and_oldest_ms().0, 1);
        drop(second);
        assert_eq!(at_work.count_and_oldest_ms(), (0, 0));
    }
}
