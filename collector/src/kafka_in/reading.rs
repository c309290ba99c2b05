//! One membership in the group: reads, has several messages in hand, and pauses while there is no room for more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::message::{Keeper, Message};
use super::positions::Begun;
use super::seat::Seat;

/// How often is looked for room while there is none.
const CLOCK: Duration = Duration::from_millis(100);
/// Without room for so long, fetching is paused: what was fetched ahead is thrown away then, which is too much for a moment.
const FULL_MAX: Duration = Duration::from_secs(1);

pub(super) struct Reading<'a> {
    consumer: &'a StreamConsumer<Seat>,
    keeper: Arc<Keeper>,
    in_hand: JoinSet<(Begun, bool)>,
    in_hand_max: usize,
    /// Read, and without room: one, or a few when partitions came to us while everything was paused.
    unadmitted: VecDeque<(Begun, BorrowedMessage<'a>)>,
    /// Since there is no room.
    full: Option<Instant>,
    paused: bool,
    /// Something was read while paused: of a partition that came to us since, and is not.
    stray: bool,
    stop: CancellationToken,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        consumer: &'a StreamConsumer<Seat>,
        keeper: Arc<Keeper>,
        in_hand_max: usize,
        stop: CancellationToken,
    ) -> Reading<'a> {
        let (in_hand, unadmitted) = (JoinSet::new(), VecDeque::new());
        Reading { consumer, keeper, in_hand, in_hand_max, unadmitted, full: None, paused: false, stray: false, stop }
    }

    /// Until stopped. An error is one that only a new consumer mends.
    pub(super) async fn run(mut self, drain_max: Duration) -> anyhow::Result<()> {
        let (consumer, seat) = (self.consumer, Arc::clone(self.consumer.context()));
        let mut clock = tokio::time::interval(CLOCK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        let outcome = loop {
            let waits = self.full.is_some() || seat.is_leaving();
            let ready = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(done) = self.in_hand.join_next() => self.done(done),
                () = seat.asked() => Ok(()),
                // While paused only the group's news come, which must be heard; or the first message of a new partition.
                message = consumer.recv(), if self.full.is_none() || self.paused => self.take(message),
                _ = clock.tick(), if waits => Ok(()),
            };
            if let Err(error) = ready.and_then(|()| self.balance()) {
                break Err(error);
            }
            seat.leave(consumer);
        };
        self.drain(drain_max).await;
        outcome
    }

    fn take(&mut self, message: Result<BorrowedMessage<'a>, KafkaError>) -> anyhow::Result<()> {
        let message = match message {
            Ok(message) => message,
            Err(KafkaError::MessageConsumptionFatal(code)) => anyhow::bail!("the consumer cannot go on: {code}"),
            // The seat has heard of it, and the client mends it.
            Err(error) => {
                debug!("nothing was read: {error}");
                return Ok(());
            }
        };
        let seat = self.consumer.context();
        self.stray = self.paused;
        let Some(topic) = seat.topic(message.topic()) else { return Ok(()) };
        if let Some(begun) = seat.begin((topic.signal, message.partition()), message.offset()) {
            self.unadmitted.push_back((begun, message));
        }
        Ok(())
    }

    /// Begins what there is room for; without room it stops fetching after a while, and goes on when there is.
    fn balance(&mut self) -> anyhow::Result<()> {
        let seat = self.consumer.context();
        // What left while it waited is for the next owner.
        self.unadmitted.retain(|(begun, _)| seat.counts(*begun));
        while self.in_hand.len() < self.in_hand_max
            && let Some((begun, message)) = self.unadmitted.front()
            && let Some(topic) = seat.topic(message.topic())
            && let Some(message) = Message::admit(message, topic, *begun, &self.keeper.collector)
        {
            let (begun, keeper, stop) = (*begun, Arc::clone(&self.keeper), self.stop.clone());
            self.in_hand.spawn(async move { (begun, keeper.deal_with(message, stop).await) });
            self.unadmitted.pop_front();
        }
        self.keeper.account.has_in_hand(self.in_hand.len());
        if self.in_hand.len() < self.in_hand_max && self.unadmitted.is_empty() {
            self.full = None;
            return self.pause(false);
        }
        let since = *self.full.get_or_insert_with(Instant::now);
        if since.elapsed() >= FULL_MAX { self.pause(true) } else { Ok(()) }
    }

    fn pause(&mut self, pause: bool) -> anyhow::Result<()> {
        if pause == self.paused && !(pause && self.stray) {
            return Ok(());
        }
        let ours = self.consumer.assignment().context("could not ask for our partitions")?;
        let done = if pause { self.consumer.pause(&ours) } else { self.consumer.resume(&ours) };
        done.context("could not pause reading, or go on with it")?;
        (self.paused, self.stray) = (pause, false);
        self.keeper.account.is_paused(pause);
        Ok(())
    }

    fn done(&self, done: Result<(Begun, bool), JoinError>) -> anyhow::Result<()> {
        let (begun, dealt_with) = done.context("dealing with a message panicked")?;
        if dealt_with {
            self.consumer.context().done(self.consumer, begun);
        }
        Ok(())
    }

    /// Nothing is read any more; what is in hand is finished, except for what waits for room.
    async fn drain(&mut self, time_max: Duration) {
        self.unadmitted.clear();
        let finished = async {
            while let Some(done) = self.in_hand.join_next().await {
                let _ = self.done(done); // the first failure is the one to tell
            }
        };
        let _ = tokio::time::timeout(time_max, finished).await;
        self.keeper.account.has_in_hand(0);
        self.keeper.account.is_paused(false);
        self.consumer.context().drop_all(self.consumer);
    }
}
