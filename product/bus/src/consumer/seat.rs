//! A reader's seat in its group: where it starts when it is given partitions, how far it got, how far it is behind, and
//! that it gives up a partition only when nothing of it is in hand.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol, StreamConsumer},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tracing::{debug, info, warn};

use crate::{inbox::Place, kafka::Connected, measure::Lag};

/// Offsets of the partitions, in the cluster of this session.
#[derive(Debug, Default)]
struct Positions {
    /// To read next.
    next: HashMap<Place, i64>,
    /// Moved since they were last written.
    moved: HashMap<Place, i64>,
    /// The partitions that are ours now; true until the inbox was asked how far somebody else got meanwhile.
    ours: HashMap<Place, bool>,
    in_hand: HashMap<Place, InHand>,
    /// Wanted back by the group, and kept until nothing of them is in hand.
    leaving: Option<TopicPartitionList>,
}

/// Of one partition: what was begun and not ended, and one past the last that was begun.
#[derive(Debug, Default)]
struct InHand {
    offsets: BTreeSet<i64>,
    end: i64,
}

pub(super) struct Seat {
    lag: Arc<Lag>,
    group: String,
    positions: Mutex<Positions>,
}

impl Seat {
    pub(super) fn new(group: &str, lag: Arc<Lag>) -> Self {
        Self { lag, group: group.to_owned(), positions: Mutex::default() }
    }

    pub(super) fn start(&self, next: HashMap<Place, i64>) {
        *self.positions() = Positions { next, ..Positions::default() };
    }

    /// True once for each time a partition was given to us.
    pub(super) fn is_new(&self, place: &Place) -> bool {
        self.positions().ours.get_mut(place).is_some_and(std::mem::take)
    }

    /// Somebody else dealt with everything before `next`: reading goes on there.
    pub(super) fn skip_to(&self, place: &Place, next: i64) {
        self.positions().next.insert(place.clone(), next);
    }

    /// Work on `offset` begins. False: its partition is about to be another's, who will do it.
    pub(super) fn begin(&self, place: &Place, offset: i64) -> bool {
        let mut positions = self.positions();
        if positions.leaving.as_ref().is_some_and(|leaving| leaving.find_partition(&place.0, place.1).is_some()) {
            return false;
        }
        let in_hand = positions.in_hand.entry(place.clone()).or_default();
        in_hand.offsets.insert(offset);
        in_hand.end = in_hand.end.max(offset + 1);
        true
    }

    /// `offset` was dealt with. Returns the offset up to which everything was.
    pub(super) fn passed(&self, place: Place, offset: i64) -> i64 {
        let mut positions = self.positions();
        let in_hand = positions.in_hand.entry(place.clone()).or_default();
        in_hand.offsets.remove(&offset);
        let next = in_hand.offsets.first().copied().unwrap_or(in_hand.end);
        positions.moved.insert(place.clone(), next);
        positions.next.insert(place, next);
        next
    }

    /// What is in hand will not be worked on: the session ends.
    pub(super) fn drop_all(&self) {
        self.positions().in_hand.clear();
    }

    /// The partitions to give up, once nothing of them is in hand any more.
    pub(super) fn take_leaving(&self) -> Option<TopicPartitionList> {
        let mut positions = self.positions();
        let leaving = positions.leaving.take()?;
        if positions.is_busy(&leaving) {
            positions.leaving = Some(leaving);
            return None;
        }
        Some(leaving)
    }

    /// Positions that only memory knows.
    pub(super) fn take_moved(&self) -> HashMap<Place, i64> {
        std::mem::take(&mut self.positions().moved)
    }

    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().expect("no code panics while it holds the positions")
    }

    /// Partitions start where the inbox says, not where the group committed: only the inbox knows by which cluster an
    /// offset was given. A partition it does not know is read from its beginning.
    fn sit_down(&self, partitions: &mut TopicPartitionList) {
        let mut positions = self.positions();
        for mut element in partitions.elements() {
            let place = (element.topic().to_owned(), element.partition());
            let offset = positions.next.get(&place).map_or(Offset::Beginning, |next| Offset::Offset(*next));
            if let Err(error) = element.set_offset(offset) {
                warn!("could not set the start of {}/{}: {error}", place.0, place.1);
            }
            positions.in_hand.remove(&place);
            positions.ours.insert(place, true);
        }
    }

    /// Gives partitions back. What was not written yet is for the next owner to find out: writing it later would take back
    /// what that one wrote.
    pub(super) fn give_up(&self, consumer: &impl Consumer<Self>, partitions: &TopicPartitionList) {
        let mut positions = self.positions();
        for element in partitions.elements() {
            let place = (element.topic().to_owned(), element.partition());
            positions.ours.remove(&place);
            positions.moved.remove(&place);
        }
        drop(positions);
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let outcome = if cooperative { consumer.incremental_unassign(partitions) } else { consumer.unassign() };
        self.tell("gave up", partitions, outcome);
    }

    fn tell(&self, what: &str, partitions: &TopicPartitionList, outcome: KafkaResult<()>) {
        match outcome {
            Ok(()) if partitions.count() > 0 => {
                let elements = partitions.elements();
                let places: Vec<_> =
                    elements.iter().map(|element| format!("{}/{}", element.topic(), element.partition())).collect();
                let (group, places) = (&self.group, places.join(", "));
                info!(messaging.consumer.group.name = group, "consumer {group} {what} {places}");
            }
            Ok(()) => {}
            Err(error) => warn!("could not follow a rebalance: {error}"),
        }
    }
}

impl Positions {
    fn is_busy(&self, partitions: &TopicPartitionList) -> bool {
        partitions.elements().iter().any(|element| {
            let place = (element.topic().to_owned(), element.partition());
            self.in_hand.get(&place).is_some_and(|in_hand| !in_hand.offsets.is_empty())
        })
    }
}

impl ClientContext for Seat {
    /// Lag is what the log holds beyond what was dealt with here, not beyond what was committed to the broker: that comes
    /// later, and not at all for a partition where nothing happened yet.
    fn stats(&self, statistics: Statistics) {
        let positions = self.positions();
        let mut behind = HashMap::new();
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                let place = (name.clone(), number);
                if partition.hi_offset >= 0 && positions.ours.contains_key(&place) {
                    let next = positions.next.get(&place).copied().unwrap_or(0).max(partition.lo_offset);
                    behind.insert(place, (partition.hi_offset - next).max(0));
                }
            }
        }
        drop(positions);
        self.lag.set(behind);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}"); // the session's clock decides what it means
    }
}

impl ConsumerContext for Seat {
    /// Cooperative: only what changes hands is named, everything else is read on. librdkafka waits with a partition's
    /// next owner until it is unassigned here, so one with messages in hand is given up when they are done.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.sit_down(partitions);
            let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
            let outcome =
                if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) };
            self.tell("was given", partitions, outcome);
        } else {
            let mut positions = self.positions();
            if positions.is_busy(partitions) {
                positions.leaving = Some(partitions.clone());
            } else {
                drop(positions);
                self.give_up(consumer, partitions);
            }
        }
    }
}

impl Connected for StreamConsumer<Seat> {
    type Context = Seat;

    fn connection(&self) -> &Client<Seat> {
        self.client()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Partition, Topic};

    use super::*;

    fn log_of(records: i64) -> Statistics {
        let partition = Partition { hi_offset: records, ..Partition::default() };
        let topic = Topic { partitions: HashMap::from([(0, partition)]), ..Topic::default() };
        Statistics { topics: HashMap::from([("users".to_owned(), topic)]), ..Statistics::default() }
    }

    #[test]
    fn what_the_owner_before_has_done_is_not_behind() {
        let place = ("users".to_owned(), 0);
        let lag = Lag::registered("seat-test");
        let seat = Seat::new("seat-test", lag.clone());
        seat.start(HashMap::from([(place.clone(), 286)]));
        seat.positions().ours.insert(place.clone(), true);
        seat.stats(log_of(315));
        assert_eq!(lag.of(&place), Some(29));
        seat.skip_to(&place, 315);
        seat.stats(log_of(315));
        assert_eq!(lag.of(&place), Some(0));
    }
}
