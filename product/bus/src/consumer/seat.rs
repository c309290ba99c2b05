//! A reader's seat in its group: where it starts when it is given partitions, and how far it is behind.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol, StreamConsumer},
    error::KafkaError,
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

    /// `offset` was dealt with; `written` when the inbox has that already.
    pub(super) fn passed(&self, place: Place, offset: i64, written: bool) {
        let mut positions = self.positions();
        if !written {
            positions.moved.insert(place.clone(), offset + 1);
        } else {
            positions.moved.remove(&place);
        }
        positions.next.insert(place, offset + 1);
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
            positions.ours.insert(place, true);
        }
    }

    /// What was not written yet is for the next owner to find out: writing it later would take back what that one wrote.
    fn stand_up(&self, partitions: &TopicPartitionList) {
        let mut positions = self.positions();
        for element in partitions.elements() {
            let place = (element.topic().to_owned(), element.partition());
            positions.ours.remove(&place);
            positions.moved.remove(&place);
        }
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
    /// Called while the reader polls, so between two messages: nothing of ours is at work in a partition that is taken.
    /// Cooperative: only what changes hands is named, everything else is read on.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let outcome = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.sit_down(partitions);
            if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) }
        } else {
            self.stand_up(partitions);
            if cooperative { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
        };
        match outcome {
            Ok(()) if partitions.count() > 0 => {
                let told =
                    if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS { "was given" } else { "gave up" };
                let places: Vec<_> = partitions
                    .elements()
                    .iter()
                    .map(|element| format!("{}/{}", element.topic(), element.partition()))
                    .collect();
                info!(
                    messaging.consumer.group.name = self.group,
                    "consumer {} {told} {}",
                    self.group,
                    places.join(", ")
                );
            }
            Ok(()) => {}
            Err(error) => warn!("could not follow a rebalance: {error}"),
        }
    }
}

impl Connected for StreamConsumer<Seat> {
    type Context = Seat;

    fn connection(&self) -> &Client<Seat> {
        self.client()
    }
}
