//! All topics, in memory. Nothing here knows the protocol's forms.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::global;
use tokio::sync::Notify;
use tracing::warn;

use super::{batch::Batch, error::ErrorCode, partition::Partition};

/// Topics, and partitions of each: far more than one machine's services have, and more is a client that invents names.
const TOPICS_MAX: usize = 1_000;
const PARTITIONS_MAX: i32 = 1_000;
/// Kafka's own bound.
const NAME_BYTES_MAX: usize = 249;

type Topics = BTreeMap<String, Vec<Partition>>;

#[derive(Debug)]
pub(super) struct Log {
    topics: Mutex<Topics>,
    /// Producer ids this broker gave. They start at the time of its start: an id must not come again in a later life,
    /// or what a new producer sends would be taken for repetitions of what the old one sent.
    producers: Mutex<Range<i64>>,
    /// Told of each append.
    appended: Notify,
}

/// Where a group goes on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Log {
    pub(super) fn new() -> Self {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let first = now_ms << 16;
        Self { topics: Mutex::default(), producers: Mutex::new(first..first), appended: Notify::new() }
    }

    /// Creates, or only says whether it would.
    pub(super) fn create(&self, topic: &str, partitions: i32, only_validate: bool) -> ErrorCode {
        let mut topics = self.topics();
        let is_full = topics.len() >= TOPICS_MAX;
        match topics.entry(topic.to_owned()) {
            Entry::Occupied(_) => ErrorCode::TopicAlreadyExists,
            Entry::Vacant(_) if !is_name(topic) => ErrorCode::InvalidTopic,
            Entry::Vacant(_) if !(1..=PARTITIONS_MAX).contains(&partitions) => ErrorCode::InvalidPartitions,
            Entry::Vacant(_) if is_full => ErrorCode::PolicyViolation,
            Entry::Vacant(place) => {
                if !only_validate {
                    place.insert((0..partitions).map(|_| Partition::default()).collect());
                }
                ErrorCode::None
            }
        }
    }

    pub(super) fn delete(&self, topic: &str) -> ErrorCode {
        self.topics().remove(topic).map_or(ErrorCode::UnknownTopicOrPartition, |_| ErrorCode::None)
    }

    /// Each topic with the number of its partitions.
    pub(super) fn all(&self) -> Vec<(String, Option<usize>)> {
        self.topics().iter().map(|(topic, partitions)| (topic.clone(), Some(partitions.len()))).collect()
    }

    pub(super) fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics().get(topic).map(Vec::len)
    }

    /// Does something with a partition as it is now.
    pub(super) fn with<T>(
        &self,
        topic: &str,
        partition: i32,
        act: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, ErrorCode> {
        let number = usize::try_from(partition).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let mut topics = self.topics();
        let found = topics.get_mut(topic).and_then(|partitions| partitions.get_mut(number));
        found.map(act).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// Appends what a producer sent and returns the offset of its first record.
    pub(super) fn append(&self, topic: &str, partition: i32, sent: &[u8]) -> Result<i64, ErrorCode> {
        let batch = Batch::parse(sent)?;
        if batch.is_idempotent() && !self.producers().contains(&batch.producer_id) {
            return Err(ErrorCode::UnknownProducerId);
        }
        let (offset, unread) = self.with(topic, partition, |log| {
            let offset = log.append(batch)?;
            Ok((offset, log.trim()))
        })??;
        self.appended.notify_waiters();
        if unread > 0 {
            warn!("{topic}/{partition} is full: forgot {unread} batches that some group had not read");
        }
        Ok(offset)
    }

    /// Asks now and after each append, until the answer is yes.
    pub(super) async fn until(&self, ask: impl Fn() -> bool) {
        loop {
            let appended = self.appended.notified();
            if ask() {
                return;
            }
            appended.await;
        }
    }

    /// Every place that a group goes on from.
    pub(super) fn committed(&self, group: &str) -> Vec<Place> {
        let topics = self.topics();
        let places = topics.iter().flat_map(|(topic, partitions)| {
            (0..).zip(partitions).filter_map(|(partition, log)| {
                log.committed(group).map(|offset| Place { topic: topic.clone(), partition, offset })
            })
        });
        places.collect()
    }

    pub(super) fn new_producer(&self) -> i64 {
        let mut producers = self.producers();
        producers.end += 1;
        producers.end - 1
    }

    /// Publishes what the log holds, so that its flatness can be watched.
    pub(super) fn measure(self: &Arc<Self>) {
        let meter = global::meter("broker");
        let log = Arc::downgrade(self);
        meter
            .i64_observable_up_down_counter("broker.log.size")
            .with_unit("By")
            .with_description("Bytes of all records the broker remembers")
            .with_callback(move |observer| observer.observe(total(&log, Partition::bytes), &[]))
            .build();
        let log = Arc::downgrade(self);
        meter
            .i64_observable_up_down_counter("broker.log.batches")
            .with_unit("{batch}")
            .with_description("Batches the broker remembers")
            .with_callback(move |observer| observer.observe(total(&log, Partition::batches), &[]))
            .build();
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().expect("no code panics while it holds the topics")
    }

    fn producers(&self) -> MutexGuard<'_, Range<i64>> {
        self.producers.lock().expect("no code panics while it holds the producers")
    }
}

fn total(log: &Weak<Log>, of: impl Fn(&Partition) -> usize) -> i64 {
    log.upgrade().map_or(0, |log| log.topics().values().flatten().map(of).sum::<usize>() as i64)
}

fn is_name(topic: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&topic.len()) && topic != "." && topic != ".." && topic.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_created_once_and_with_sense() {
        let log = Log::new();
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (topic, partitions, expected) in [
            ("things", 2, ErrorCode::None),
            ("things", 2, ErrorCode::TopicAlreadyExists),
            ("other things", 2, ErrorCode::InvalidTopic),
            (".", 2, ErrorCode::InvalidTopic),
            (&long, 2, ErrorCode::InvalidTopic),
            ("nothing", 0, ErrorCode::InvalidPartitions),
            ("all", PARTITIONS_MAX + 1, ErrorCode::InvalidPartitions),
        ] {
            assert_eq!(log.create(topic, partitions, false), expected, "{topic}");
        }
        assert_eq!(log.create("perhaps", 1, true), ErrorCode::None);
        assert_eq!(log.all(), [("things".to_owned(), Some(2))]);
        assert_eq!((log.delete("things"), log.delete("things")), (ErrorCode::None, ErrorCode::UnknownTopicOrPartition));
    }

    #[test]
    fn a_group_goes_on_where_it_committed() {
        let log = Log::new();
        log.create("things", 2, false);
        assert_eq!(log.with("things", 1, |log| log.commit("readers", 0)), Ok(ErrorCode::None));
        assert_eq!(log.with("things", 0, |log| log.commit("readers", 7)), Ok(ErrorCode::None), "of an earlier life");
        let places: Vec<_> = log.committed("readers").iter().map(|place| (place.partition, place.offset)).collect();
        assert_eq!(places, [(1, 0)]);
        assert_eq!(log.with("things", 2, |log| log.end()), Err(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(log.with("things", -1, |log| log.end()), Err(ErrorCode::UnknownTopicOrPartition));
    }
}
