//! A reader's seat in its group: where it starts when it is given partitions, and how far it is behind.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, Consumer, ConsumerContext, StreamConsumer},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use tracing::{debug, warn};

use crate::{inbox::Place, kafka::Connected, measure::Lag};

/// The offset to read next of each partition, in the cluster of this session.
#[derive(Debug, Default)]
pub(super) struct Positions {
    next: HashMap<Place, i64>,
    /// Moved since they were last written.
    moved: HashMap<Place, i64>,
}

pub(super) struct Seat {
    pub(super) lag: Arc<Lag>,
    positions: Mutex<Positions>,
}

impl Seat {
    pub(super) fn new(lag: Arc<Lag>) -> Self {
        Self { lag, positions: Mutex::default() }
    }

    pub(super) fn start(&self, next: HashMap<Place, i64>) {
        *self.positions() = Positions { next, moved: HashMap::new() };
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
}

impl ClientContext for Seat {
    fn stats(&self, statistics: Statistics) {
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                // -1: a partition of somebody else, or nothing known yet.
                if number >= 0 && partition.consumer_lag >= 0 {
                    self.lag.set(&name, number, partition.consumer_lag);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}"); // the session's clock decides what it means
    }
}

impl ConsumerContext for Seat {
    /// Partitions start where the inbox says, not where the group committed: only the inbox knows by which cluster an
    /// offset was given. A partition it does not know is read from its beginning.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let outcome = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let positions = self.positions();
            for mut element in partitions.elements() {
                let place = (element.topic().to_owned(), element.partition());
                let offset = positions.next.get(&place).map_or(Offset::Beginning, |next| Offset::Offset(*next));
                if let Err(error) = element.set_offset(offset) {
                    warn!("could not set the start of {}/{}: {error}", place.0, place.1);
                }
            }
            drop(positions);
            consumer.assign(partitions)
        } else {
            consumer.unassign()
        };
        if let Err(error) = outcome {
            warn!("could not follow a rebalance: {error}");
        }
    }
}

impl Connected for StreamConsumer<Seat> {
    type Context = Seat;

    fn connection(&self) -> &Client<Seat> {
        self.client()
    }
}
