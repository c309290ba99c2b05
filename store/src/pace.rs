//! How often a small group of requests may be committed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock;

/// Small groups in a row are not begun faster than that: a frame and an fsync cost a millisecond of CPU, forty small requests.
const SMALL_GROUP_EVERY: Duration = Duration::from_millis(8);
/// So many of them need not wait after a pause: a client that sends one request after the other, for a moment.
const SMALL_GROUPS_AT_ONCE: u32 = 16;

/// When the next one may begin, which lies behind after a pause.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// None: now.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        lock(&self.0).filter(|next| *next > now)
    }

    /// A small group begins.
    pub(crate) fn begin(&self, now: Instant) {
        let mut next = lock(&self.0);
        let after_a_pause = now.checked_sub(SMALL_GROUP_EVERY * (SMALL_GROUPS_AT_ONCE - 1));
        *next = (*next).max(after_a_pause).map(|next| next + SMALL_GROUP_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_some_begin_at_once_and_then_one_at_a_time() {
        let (pace, start) = (Pace::default(), Instant::now() + Duration::from_secs(60));
        for round in 0..2 {
            let now = start + Duration::from_secs(round);
            for _ in 0..SMALL_GROUPS_AT_ONCE {
                assert_eq!(pace.next(now), None);
                pace.begin(now);
            }
            assert_eq!(pace.next(now), Some(now + SMALL_GROUP_EVERY));
            let later = now + SMALL_GROUP_EVERY;
            assert_eq!(pace.next(later), None);
            pace.begin(later);
            assert_eq!(pace.next(later), Some(later + SMALL_GROUP_EVERY));
        }
    }
}
