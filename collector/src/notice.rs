//! Log lines that a flood of bad requests cannot turn into a flood of log lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// One for each kind of trouble.
#[derive(Default)]
pub(crate) struct Notices {
    pub busy: Notice,
    pub stranger: Notice,
    pub invalid: Notice,
    pub store: Notice,
    pub defect: Notice,
}

pub(crate) struct Notice {
    start: Instant,
    /// Milliseconds after `start` from which the next line may be said.
    next_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Default for Notice {
    fn default() -> Notice {
        Notice { start: Instant::now(), next_ms: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }
}

impl Notice {
    /// Whether to say it now, and how many were not said since the last time.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_at(self.start.elapsed())
    }

    fn due_at(&self, now: Duration) -> Option<u64> {
        let now_ms = now.as_millis() as u64;
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let then_ms = now_ms + INTERVAL.as_millis() as u64;
        let first = now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, then_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first {
            Some(self.unsaid.swap(0, Ordering::Relaxed))
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval_and_the_rest_is_counted() {
        let notice = Notice::default();
        assert_eq!(notice.due_at(Duration::ZERO), Some(0));
        assert_eq!(notice.due_at(Duration::from_secs(1)), None);
        assert_eq!(notice.due_at(Duration::from_secs(9)), None);
        assert_eq!(notice.due_at(INTERVAL), Some(2));
        assert_eq!(notice.due_at(INTERVAL * 3), Some(0));
    }
}
