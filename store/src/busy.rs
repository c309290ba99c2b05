//! Since when a thread is at one piece of work: what tells a slow thread from a stuck one.

use std::sync::Mutex;
use std::time::Instant;

use crate::lock;

#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<Option<Instant>>);

impl Busy {
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        *lock(&self.0) = Some(Instant::now());
        let _ends = Ends(self);
        work()
    }

    /// Milliseconds of the work at hand; 0 when there is none.
    pub(crate) fn ms(&self) -> u64 {
        lock(&self.0).map_or(0, |since| since.elapsed().as_millis() as u64)
    }
}

/// Work that panics is over too.
struct Ends<'a>(&'a Busy);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caught;

    #[test]
    fn work_has_an_age_until_it_is_done() {
        let busy = Busy::default();
        assert_eq!(busy.ms(), 0);
        busy.during(|| while busy.ms() == 0 {});
        assert_eq!(busy.ms(), 0);
    }

    #[test]
    fn work_that_panics_is_over() {
        let busy = Busy::default();
        let panicked = caught(|| {
            busy.during(|| {
                while busy.ms() == 0 {}
                panic!("a defect")
            })
        });
        assert!(panicked.is_err());
        assert_eq!(busy.ms(), 0);
    }
}
