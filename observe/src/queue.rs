//! A bounded queue between whoever makes telemetry and the one who delivers it. Full means dropped and counted:
//! a process never waits for its telemetry.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::error::OTelSdkResult;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{counts::Tally, delivery::deliver};

/// How one signal is queued.
pub(crate) struct Limits {
    /// Items waiting; beyond it they are dropped.
    pub(crate) waiting_items_max: usize,
    /// Items of one request: with about 1 kB each, well below gRPC's usual 4 MiB.
    pub(crate) request_items_max: usize,
    /// A waiting item leaves after this at the latest.
    pub(crate) wait_max: Duration,
}

/// The side of the makers.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    queue: mpsc::Sender<T>,
    tally: Arc<Tally>,
    stop: CancellationToken,
}

impl<T> Intake<T> {
    /// What comes when the process has said its last word (a thread that still ends) belongs to no account.
    pub(crate) fn offer(&self, item: T) {
        if self.stop.is_cancelled() && self.queue.is_closed() {
            return;
        }
        self.tally.made(1);
        if self.queue.try_send(item).is_err() {
            self.tally.settled(1, false);
        }
    }
}

/// The side of the deliverer.
pub(crate) struct Outlet<T> {
    queue: mpsc::Receiver<T>,
    tally: Arc<Tally>,
    limits: Limits,
    stop: CancellationToken,
}

/// Until `stop`.
pub(crate) fn bounded<T>(limits: Limits, tally: Arc<Tally>, stop: CancellationToken) -> (Intake<T>, Outlet<T>) {
    let (sender, receiver) = mpsc::channel(limits.waiting_items_max);
    let intake = Intake { queue: sender, tally: tally.clone(), stop: stop.clone() };
    (intake, Outlet { queue: receiver, tally, limits, stop })
}

impl<T> Outlet<T> {
    /// Delivers by `export` until the stop, then what still waits. After `abandon` the rest is counted as dropped.
    pub(crate) async fn run(mut self, export: impl AsyncFn(&[T]) -> OTelSdkResult, abandon: &CancellationToken) {
        let mut clock = tokio::time::interval(self.limits.wait_max);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(self.limits.request_items_max);
        let mut open = true;
        while open {
            let room = self.limits.request_items_max - batch.len();
            let due = tokio::select! {
                taken = self.queue.recv_many(&mut batch, room) => {
                    open = taken > 0; // 0: closed and empty
                    !open || batch.len() == self.limits.request_items_max
                }
                _ = clock.tick() => true,
                _ = self.stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    false
                }
            };
            if due && !batch.is_empty() {
                let delivered = deliver(|| export(&batch), abandon).await;
                self.tally.settled(batch.len() as u64, delivered);
                batch.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SignalCounts;

    #[tokio::test]
    async fn what_finds_no_place_or_no_collector_is_counted_as_dropped() {
        let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
        let limits = Limits { waiting_items_max: 2, request_items_max: 1, wait_max: Duration::from_secs(1) };
        let (intake, outlet) = bounded(limits, tally.clone(), stop.clone());
        for item in 0..3 {
            intake.offer(item);
        }
        assert_eq!(tally.read(), SignalCounts { made: 3, dropped: 1, acknowledged: 0 });

        // The first is taken; the second finds a collector that never answers, and is abandoned.
        let abandon = CancellationToken::new();
        let export = async |items: &[i32]| {
            if items == [1] {
                abandon.cancel();
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        stop.cancel();
        outlet.run(export, &abandon).await;
        let settled = SignalCounts { made: 3, dropped: 2, acknowledged: 1 };
        assert_eq!(tally.read(), settled);
        intake.offer(3);
        assert_eq!(tally.read(), settled, "it came after the end");
    }
    #[test]
    fn what_finds_nobody_who_delivers_is_dropped() {
        let tally = Arc::new(Tally::default());
        let limits = Limits { waiting_items_max: 2, request_items_max: 1, wait_max: Duration::from_secs(1) };
        let (intake, outlet) = bounded(limits, tally.clone(), CancellationToken::new());
        drop(outlet);
        intake.offer(0);
        assert_eq!(tally.read(), SignalCounts { made: 1, dropped: 1, acknowledged: 0 });
    }
}
