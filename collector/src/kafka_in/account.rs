//! What became of messages and where reading stands, for `/health`, the metrics and the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Rejected, Signal};
use serde::Serialize;
use tracing::{error, info, warn};

use super::args::Topic;
use super::positions::Begun;
use crate::notice::Notice;
use crate::refusal::cut;

/// Bytes of a reason that are remembered.
const REASON_BYTES_MAX: usize = 1024;

pub(crate) struct Account {
    servers: String,
    topics: Vec<Counts>,
    in_hand: AtomicUsize,
    in_hand_max: usize,
    paused: AtomicBool,
    /// Why no broker answers; None while one does.
    away: Mutex<Option<String>>,
    /// Why the last offsets were not taken by the broker; None when they were.
    uncommitted: Mutex<Option<String>>,
    /// What keeps each message that cannot be dealt with now, by its place.
    waiting: Mutex<BTreeMap<(Signal, i32, i64), String>>,
    failing: Notice,
    poison: Notice,
    rejected: Notice,
}

struct Counts {
    signal: Signal,
    name: String,
    kept: AtomicU64,
    dead_lettered: AtomicU64,
    failures: AtomicU64,
    partitions: AtomicU64,
    lag: AtomicU64,
    /// The broker did not know the topic when it was asked.
    missing: AtomicBool,
}

/// A moment of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Progress {
    /// Messages that are being dealt with.
    pub in_hand: usize,
    pub in_hand_max: usize,
    /// Nothing is fetched, because there is no room for more.
    pub paused: bool,
    pub topics: Vec<TopicProgress>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopicProgress {
    pub topic: String,
    pub signal: &'static str,
    pub state: &'static str,
    /// Why it does not work; empty while it does.
    pub reason: String,
    /// Partitions that are ours now; the rest of the group has the others.
    pub partitions: u64,
    /// Messages whose rows are durable.
    pub kept: u64,
    /// Messages that went to the topic of dead letters.
    pub dead_lettered: u64,
    /// Attempts that are made again.
    pub failures: u64,
    /// Messages of our partitions that are not dealt with, as of a second ago.
    pub lag: u64,
}

/// A message that may have to wait. What is told of it is forgotten with it.
pub(super) struct Waiting {
    account: Arc<Account>,
    begun: Begun,
}

impl Account {
    pub(super) fn new(servers: &str, topics: &[Topic], in_hand_max: usize) -> Account {
        let counts = |topic: &Topic| Counts {
            signal: topic.signal,
            name: topic.name.clone(),
            kept: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            partitions: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            missing: AtomicBool::new(false),
        };
        Account {
            servers: servers.to_owned(),
            topics: topics.iter().map(counts).collect(),
            in_hand: AtomicUsize::new(0),
            in_hand_max,
            paused: AtomicBool::new(false),
            away: Mutex::new(Some("no broker has answered yet".to_owned())),
            uncommitted: Mutex::default(),
            waiting: Mutex::default(),
            failing: Notice::default(),
            poison: Notice::default(),
            rejected: Notice::default(),
        }
    }

    pub(super) fn has_in_hand(&self, messages: usize) {
        self.in_hand.store(messages, Relaxed);
    }

    pub(super) fn is_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    pub(super) fn kept(&self, begun: Begun, rejected: &Rejected) {
        let Some(topic) = self.topic(begun.place.0) else { return };
        topic.kept.fetch_add(1, Relaxed);
        if rejected.count == 0 {
            return;
        }
        if let Some(unsaid) = self.rejected.due() {
            let (name, count, place) = (&topic.name, rejected.count, place(topic, begun));
            warn!(
                messaging.destination.name = name,
                refused.unsaid = unsaid,
                "left {count} records out of message {place}: {}",
                cut(rejected.message.clone(), REASON_BYTES_MAX)
            );
        }
    }

    pub(super) fn dead_lettered(&self, begun: Begun, reason: &str) {
        let Some(topic) = self.topic(begun.place.0) else { return };
        topic.dead_lettered.fetch_add(1, Relaxed);
        if let Some(unsaid) = self.poison.due() {
            let (name, place) = (&topic.name, place(topic, begun));
            warn!(
                messaging.destination.name = name,
                refused.unsaid = unsaid,
                "message {place} is among the dead letters now: {}",
                cut(reason.to_owned(), REASON_BYTES_MAX)
            );
        }
    }

    /// No broker answers, or what answers is of no use.
    pub(super) fn away(&self, reason: &str) {
        let reason = cut(reason.to_owned(), REASON_BYTES_MAX);
        if let Some(unsaid) = self.failing.due() {
            let servers = &self.servers;
            warn!(refused.unsaid = unsaid, "nothing can be read from Kafka at {servers} now: {reason}");
        }
        *locked(&self.away) = Some(reason);
    }

    pub(super) fn answers(&self) {
        if locked(&self.away).take().is_some() {
            info!("reading from Kafka at {}", self.servers);
        }
    }

    /// What is kept meanwhile would be read again after a restart.
    pub(super) fn does_not_commit(&self, reason: &str) {
        if let Some(unsaid) = self.failing.due() {
            warn!(refused.unsaid = unsaid, "Kafka at {} does not take our offsets: {reason}", self.servers);
        }
        *locked(&self.uncommitted) = Some(cut(reason.to_owned(), REASON_BYTES_MAX));
    }

    pub(super) fn commits(&self) {
        *locked(&self.uncommitted) = None;
    }

    pub(super) fn is_missing(&self, signal: Signal) {
        let Some(topic) = self.topic(signal) else { return };
        if !topic.missing.swap(true, Relaxed) {
            let name = &topic.name;
            error!(messaging.destination.name = name, "there is no topic {name} to read {} from", signal.name());
        }
    }

    /// Of a topic: our partitions, and how much of them is not dealt with.
    pub(super) fn stands(&self, signal: Signal, partitions: u64, lag: u64) {
        let Some(topic) = self.topic(signal) else { return };
        topic.partitions.store(partitions, Relaxed);
        topic.lag.store(lag, Relaxed);
        if partitions > 0 {
            topic.missing.store(false, Relaxed);
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let away = locked(&self.away).clone();
        let topics = self.topics.iter().map(|topic| self.progress_of(topic, away.as_deref())).collect();
        let (in_hand, paused) = (self.in_hand.load(Relaxed), self.paused.load(Relaxed));
        Progress { in_hand, in_hand_max: self.in_hand_max, paused, topics }
    }

    fn progress_of(&self, topic: &Counts, away: Option<&str>) -> TopicProgress {
        let waits = locked(&self.waiting).iter().find(|(place, _)| place.0 == topic.signal).map(|(_, why)| why.clone());
        let (state, reason) = if let Some(reason) = away {
            ("fails", reason.to_owned())
        } else if let Some(reason) = waits {
            ("waits", reason)
        } else if self.paused.load(Relaxed) {
            ("waits", "there is no room for more messages in flight".to_owned())
        } else if let Some(reason) = &*locked(&self.uncommitted) {
            ("fails", format!("offsets are not taken: {reason}"))
        } else if topic.missing.load(Relaxed) {
            ("no topic", format!("the broker knows no topic {}; create it", topic.name))
        } else {
            ("works", String::new())
        };
        TopicProgress {
            topic: topic.name.clone(),
            signal: topic.signal.name(),
            state,
            reason,
            partitions: topic.partitions.load(Relaxed),
            kept: topic.kept.load(Relaxed),
            dead_lettered: topic.dead_lettered.load(Relaxed),
            failures: topic.failures.load(Relaxed),
            lag: topic.lag.load(Relaxed),
        }
    }

    fn topic(&self, signal: Signal) -> Option<&Counts> {
        self.topics.iter().find(|topic| topic.signal == signal)
    }
}

impl Waiting {
    pub(super) fn new(account: &Arc<Account>, begun: Begun) -> Waiting {
        Waiting { account: Arc::clone(account), begun }
    }

    /// An attempt failed and is made again.
    pub(super) fn failed(&self, reason: &str) {
        let (signal, partition) = self.begun.place;
        if let Some(topic) = self.account.topic(signal) {
            topic.failures.fetch_add(1, Relaxed);
        }
        let reason = cut(reason.to_owned(), REASON_BYTES_MAX);
        locked(&self.account.waiting).insert((signal, partition, self.begun.offset), reason);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (signal, partition) = self.begun.place;
        locked(&self.account.waiting).remove(&(signal, partition, self.begun.offset));
    }
}

fn place(topic: &Counts, begun: Begun) -> String {
    format!("{}/{}/{}", topic.name, begun.place.1, begun.offset)
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::args::test_args;
    use super::super::positions::Positions;
    use super::*;

    #[test]
    fn the_state_says_what_is_wrong_until_it_works() {
        let account = Arc::new(Account::new("k:9092", &test_args(&[]).topics().expect("three topics"), 64));
        let state = |topic: usize| {
            let progress = account.progress().topics.swap_remove(topic);
            (progress.state, progress.reason)
        };
        assert_eq!(state(0), ("fails", "no broker has answered yet".to_owned()));
        account.answers();
        assert_eq!(state(0), ("works", String::new()));
        let mut positions = Positions::default();
        positions.take((Signal::Logs, 0));
        let waiting = Waiting::new(&account, positions.begin((Signal::Logs, 0), 7).expect("it is ours"));
        waiting.failed("the disk is full");
        assert_eq!((state(1), state(0).0), (("waits", "the disk is full".to_owned()), "works"));
        account.away("connection refused");
        assert_eq!(state(1), ("fails", "connection refused".to_owned()), "the worst first");
        account.answers();
        drop(waiting);
        assert_eq!(state(1).0, "works");
        account.does_not_commit("not authorized");
        assert_eq!(state(0), ("fails", "offsets are not taken: not authorized".to_owned()));
        account.commits();
        account.is_paused(true);
        assert_eq!(state(0).0, "waits");
        account.is_paused(false);
        account.is_missing(Signal::Metrics);
        assert_eq!(state(2).0, "no topic");
        account.stands(Signal::Metrics, 1, 12);
        assert_eq!((state(2).0, account.progress().topics[2].lag), ("works", 12));
    }
}
