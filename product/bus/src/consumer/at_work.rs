//! Events at work in any reader of a consumer. The main reader and that of a retry can meet the same event: a log that was
//! published again has it anew while an earlier attempt waits beside it. The inbox tells them apart only once one of them is done.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

/// Bounded by what the readers have in hand.
#[derive(Default)]
pub(super) struct AtWork {
    events: Mutex<HashSet<Uuid>>,
    ended: Notify,
}

/// An event is at work as long as this lives.
pub(super) struct Claim<'a> {
    at_work: &'a AtWork,
    event: Uuid,
}

impl AtWork {
    /// Waits until nobody else is at work on `event`.
    pub(super) async fn claim(&self, event: Uuid) -> Claim<'_> {
        loop {
            let ended = self.ended.notified(); // knows of every end from here on
            if self.events().insert(event) {
                return Claim { at_work: self, event };
            }
            ended.await;
        }
    }

    fn events(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.at_work.events().remove(&self.event);
        self.at_work.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_others_for_nobody() {
        let at_work = AtWork::default();
        let first = at_work.claim(Uuid::from_u128(1)).await;
        let mut second = Box::pin(at_work.claim(Uuid::from_u128(1)));
        assert!((&mut second).now_or_never().is_none());
        assert!(at_work.claim(Uuid::from_u128(2)).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }
}
