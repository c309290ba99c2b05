//! Our seat in the consumer group: which partitions are ours, and that one is given up only when nothing of it is in hand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Partition;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::account::Account;
use super::args::Topic;
use super::positions::{Begun, Place, Positions};

/// What is in hand of a partition that the group wants back gets this long; the rest of the group waits. What is not done by then,
/// because the store is full, the next owner does again.
const LEAVE_MAX: Duration = Duration::from_secs(5);

pub(super) struct Seat {
    topics: Vec<Topic>,
    account: Arc<Account>,
    held: Mutex<Held>,
    /// Why the last connection failed.
    trouble: Mutex<String>,
    /// Told when the group wants partitions back.
    asked: Notify,
}

#[derive(Default)]
struct Held {
    positions: Positions,
    leaving: Option<Leaving>,
}

struct Leaving {
    partitions: TopicPartitionList,
    until: Instant,
}

impl Seat {
    pub(super) fn new(topics: &[Topic], account: &Arc<Account>) -> Seat {
        Seat {
            topics: topics.to_vec(),
            account: Arc::clone(account),
            held: Mutex::default(),
            trouble: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// A topic that is read.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// None: it is for the next owner of its partition.
    pub(super) fn begin(&self, place: Place, offset: i64) -> Option<Begun> {
        self.held().positions.begin(place, offset)
    }

    /// Whether its partition is still ours.
    pub(super) fn counts(&self, begun: Begun) -> bool {
        self.held().positions.counts(begun)
    }

    /// The message is dealt with. What can be committed now is librdkafka's to commit, by its clock and before a partition leaves.
    pub(super) fn done(&self, consumer: &impl Consumer<Seat>, begun: Begun) {
        let next = self.held().positions.done(begun);
        let topic = self.topics.iter().find(|topic| topic.signal == begun.place.0);
        let (Some(next), Some(topic)) = (next, topic) else { return };
        // It names the last message that is dealt with. It fails when the partition was lost just now: then it is not ours to tell.
        if let Err(error) = consumer.store_offset(&topic.name, begun.place.1, next - 1) {
            debug!("offset {next} of {}/{} is not told: {error}", topic.name, begun.place.1);
        }
    }

    /// Returns when partitions may have to be given up.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.held().leaving.is_some()
    }

    /// Gives back what the group wants, once nothing of it is in hand or that took too long.
    pub(super) fn leave(&self, consumer: &impl Consumer<Seat>) {
        let mut held = self.held();
        let Some(leaving) = held.leaving.take() else { return };
        if held.positions.are_busy(&self.places(&leaving.partitions)) && Instant::now() < leaving.until {
            held.leaving = Some(leaving);
            return;
        }
        drop(held);
        self.give_up(consumer, &leaving.partitions);
    }

    /// What is in hand will not be done: the reading ends.
    pub(super) fn drop_all(&self, consumer: &impl Consumer<Seat>) {
        self.held().positions = Positions::default();
        self.leave(consumer);
    }

    fn give_up(&self, consumer: &impl Consumer<Seat>, partitions: &TopicPartitionList) {
        self.held().positions.give_up(&self.places(partitions));
        // It would still be paused when it comes back, and nobody would know.
        if let Err(error) = consumer.resume(partitions) {
            debug!("partitions that leave may stay paused: {error}");
        }
        let given = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        };
        if let Err(error) = given {
            warn!("could not give partitions back to Kafka's group: {error}");
        }
    }

    fn places(&self, partitions: &TopicPartitionList) -> Vec<Place> {
        let place = |topic: &str, partition| self.topic(topic).map(|topic| (topic.signal, partition));
        partitions.elements().iter().filter_map(|element| place(element.topic(), element.partition())).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, statistics: &Statistics) {
        let ours: Vec<Place> = self.held().positions.ours().collect();
        for topic in &self.topics {
            let seen = statistics.topics.get(&topic.name);
            let of_topic = || ours.iter().filter(|place| place.0 == topic.signal);
            let lag = of_topic().filter_map(|place| seen?.partitions.get(&place.1)).map(lag).sum();
            self.account.stands(topic.signal, of_topic().count() as u64, lag);
        }
    }
}

/// What the partition holds beyond what is dealt with, as far as the broker has told.
fn lag(partition: &Partition) -> u64 {
    let next = partition.stored_offset.max(partition.committed_offset).max(partition.lo_offset).max(0);
    u64::try_from(partition.hi_offset - next).unwrap_or(0)
}

impl ClientContext for Seat {
    fn stats(&self, statistics: Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
        if connected && statistics.cgrp.as_ref().is_some_and(|group| group.state == "up") {
            self.account.answers();
        } else {
            let trouble = self.trouble().clone();
            self.account.away(if trouble.is_empty() { "no broker answers" } else { &trouble });
        }
        self.count(&statistics);
    }

    /// Statistics tell whether it matters.
    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                let named = self.topics.iter().filter(|topic| reason.contains(&topic.name));
                named.for_each(|topic| self.account.is_missing(topic.signal));
            }
            // Says less than what came before it.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => reason.clone_into(&mut self.trouble()),
        }
    }
}

impl ConsumerContext for Seat {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => self.account.commits(),
            Err(error) => self.account.does_not_commit(&error.to_string()),
        }
    }

    /// Cooperative: only what changes hands is named, everything else is read on. librdkafka lets the next owner wait until a
    /// partition is unassigned here, and commits what is to be committed before.
    fn rebalance(&self, consumer: &BaseConsumer<Seat>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let places = self.places(partitions);
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            places.into_iter().for_each(|place| self.held().positions.take(place));
            self.account.commits(); // what an earlier membership could not
            let taken = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
                _ => consumer.assign(partitions),
            };
            if let Err(error) = taken {
                warn!("could not take partitions of Kafka's group: {error}");
            }
            return;
        }
        // Lost: others may have them already.
        if consumer.assignment_lost() {
            return self.give_up(consumer, partitions);
        }
        let mut held = self.held();
        held.positions.leave(&places);
        held.leaving = Some(Leaving { partitions: partitions.clone(), until: Instant::now() + LEAVE_MAX });
        drop(held);
        self.leave(consumer);
        self.asked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_what_is_dealt_with() {
        let of = |stored, committed, low, high| {
            lag(&Partition {
                stored_offset: stored,
                committed_offset: committed,
                lo_offset: low,
                hi_offset: high,
                ..Partition::default()
            })
        };
        assert_eq!(of(-1001, -1001, -1001, -1001), 0, "nothing is known yet");
        assert_eq!(of(-1001, -1001, 5, 12), 7, "never read");
        assert_eq!(of(-1001, 9, 5, 12), 3, "read before we came");
        assert_eq!(of(11, 9, 5, 12), 1);
        assert_eq!(of(12, 12, 5, 12), 0);
    }
}
