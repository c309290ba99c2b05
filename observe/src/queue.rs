//! A bounded queue between whoever makes telemetry and the one who delivers it. Full means dropped and counted:
//! a process never waits for its telemetry.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    counts::Tally,
    delivery::{Request, deliver},
};

/// How one signal is queued.
pub(crate) struct Limits {
    /// Items waiting; beyond it they are dropped.
    pub(crate) waiting_items_max: usize,
    /// Items of one request: with about 1 kB each, well below gRPC's usual 4 MiB.
    pub(crate) request_items_max: usize,
    /// A waiting item leaves after this at the latest.
    pub(crate) wait_max: Duration,
}

/// What waits. `weight` is how many spans, records or points it is.
pub(crate) trait Item: Send + 'static {
    fn weight(&self) -> u64;
    fn request(items: Vec<Self>) -> Request
    where
        Self: Sized;
}

/// The side of the makers.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    queue: mpsc::Sender<T>,
    tally: Arc<Tally>,
}

impl<T: Item> Intake<T> {
    pub(crate) fn offer(&self, item: T) {
        let weight = item.weight();
        self.tally.made(weight);
        if self.queue.try_send(item).is_err() {
            self.tally.dropped(weight);
        }
    }
}

/// The side of the deliverer.
pub(crate) struct Outlet<T> {
    queue: mpsc::Receiver<T>,
    tally: Arc<Tally>,
    limits: Limits,
}

pub(crate) fn bounded<T: Item>(limits: Limits, tally: Arc<Tally>) -> (Intake<T>, Outlet<T>) {
    let (sender, receiver) = mpsc::channel(limits.waiting_items_max);
    (Intake { queue: sender, tally: tally.clone() }, Outlet { queue: receiver, tally, limits })
}

impl<T: Item> Outlet<T> {
    /// Delivers until `stop`, then what still waits. After `abandon` the rest is counted as dropped.
    pub(crate) async fn run(mut self, channel: Channel, stop: CancellationToken, abandon: CancellationToken) {
        let mut clock = tokio::time::interval(self.limits.wait_max);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(self.limits.request_items_max);
        loop {
            let room = self.limits.request_items_max - batch.len();
            let due = tokio::select! {
                taken = self.queue.recv_many(&mut batch, room) => {
                    if taken == 0 {
                        break; // closed and empty
                    }
                    batch.len() == self.limits.request_items_max
                }
                _ = clock.tick() => true,
                _ = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    false
                }
            };
            if due {
                self.deliver(&mut batch, &channel, &abandon).await;
            }
        }
        self.deliver(&mut batch, &channel, &abandon).await;
    }

    async fn deliver(&self, batch: &mut Vec<T>, channel: &Channel, abandon: &CancellationToken) {
        if batch.is_empty() {
            return;
        }
        let items = std::mem::replace(batch, Vec::with_capacity(self.limits.request_items_max));
        let made: u64 = items.iter().map(Item::weight).sum();
        let request = T::request(items);
        let outcome = abandon.run_until_cancelled(deliver(channel, &request)).await;
        let rejected = match outcome {
            Some(Ok(rejected)) => rejected.min(made),
            Some(Err(_)) | None => made,
        };
        self.tally.dropped(rejected);
        self.tally.acknowledged(made - rejected);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use tonic::transport::Endpoint;

    use super::*;
    use crate::SignalCounts;

    impl Item for u64 {
        fn weight(&self) -> u64 {
            *self
        }

        fn request(_items: Vec<Self>) -> Request {
            Request::Logs(ExportLogsServiceRequest::default())
        }
    }

    #[tokio::test]
    async fn what_finds_no_place_or_no_collector_is_counted_as_dropped() {
        let tally = Arc::new(Tally::default());
        let limits = Limits { waiting_items_max: 2, request_items_max: 1, wait_max: Duration::from_secs(1) };
        let (intake, outlet) = bounded(limits, tally.clone());
        for weight in [1, 10, 100] {
            intake.offer(weight);
        }
        assert_eq!(tally.read(), SignalCounts { made: 111, dropped: 100, acknowledged: 0 });

        // Port 9 (discard) of this machine: nobody listens, and the first attempt is given up before it is made.
        let channel = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let over = CancellationToken::new();
        over.cancel();
        outlet.run(channel, over.clone(), over).await;
        intake.offer(1_000);
        assert_eq!(tally.read(), SignalCounts { made: 1_111, dropped: 1_111, acknowledged: 0 });
    }
}
