//! The coordinator of consumer groups, by the rules of Kafka's own.
//!
//! A group that stands still is lost effects and a long rebalance is lag: whoever leaves, dies or is silent at any step is
//! waited for no longer than its session. Static members (`group.instance.id`) are treated like others.

mod group;
pub(super) mod offsets;
pub(super) mod requests;

use std::{collections::HashMap, ops::RangeInclusive, pin::pin, sync::Mutex, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use super::error::ErrorCode;
use group::{Group, Joined, Newcomer};

/// Groups that have members; more is a client that invents names.
const GROUPS_MAX: usize = 1_000;
/// Kafka's own upper bound. Shorter than the lower one is a busy machine taken for a dead one.
const SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(1_800);

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Mutex<HashMap<String, Group>>,
    /// Told of each step of a group.
    stepped: Notify,
}

impl Groups {
    /// Answers when all members have joined.
    async fn join(&self, name: &str, newcomer: &Newcomer<'_>) -> Joined {
        let id = newcomer.id;
        let refuse = |error| Joined::refused(id, error);
        if name.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        if !SESSION.contains(&newcomer.session) {
            return refuse(ErrorCode::InvalidSessionTimeout);
        }
        if !self.has_room(name) {
            return refuse(ErrorCode::CoordinatorNotAvailable);
        }
        if id.is_empty() {
            return match self.with(name, |group, now| group.promise(now, newcomer)) {
                Ok(id) => Joined::refused(&id, ErrorCode::MemberIdRequired),
                Err(error) => refuse(error),
            };
        }
        if let Err(error) = self.with(name, |group, now| group.join(now, newcomer)) {
            return refuse(error);
        }
        self.until(name, |group, _| group.joined(id)).await
    }

    /// Answers when the leader has said who reads what; `plan` is that, if `id` is the leader.
    async fn sync(
        &self,
        name: &str,
        id: &str,
        generation: i32,
        plan: &HashMap<String, Bytes>,
    ) -> Result<Bytes, ErrorCode> {
        self.until(name, |group, now| group.sync(now, id, generation, plan)).await
    }

    fn heartbeat(&self, name: &str, id: &str, generation: i32) -> ErrorCode {
        self.with(name, |group, now| group.heartbeat(now, id, generation))
    }

    fn leave(&self, name: &str, id: &str) -> ErrorCode {
        self.with(name, |group, now| group.leave(now, id))
    }

    fn may_commit(&self, name: &str, id: &str, generation: i32) -> ErrorCode {
        self.with(name, |group, _| group.commit(id, generation))
    }

    /// Does something with a group as it is now.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Group, Instant) -> T) -> T {
        let mut groups = self.groups.lock().expect("no code panics while it holds the groups");
        let group = groups.entry(name.to_owned()).or_default();
        let (before, now) = (group.step(), Instant::now());
        group.pass_time(now);
        let outcome = act(group, now);
        if group.step() != before {
            self.stepped.notify_waiters();
        }
        if group.is_over() {
            groups.remove(name);
        }
        outcome
    }

    /// Asks again with each step, and when time alone changes the group.
    async fn until<T>(&self, name: &str, mut ask: impl FnMut(&mut Group, Instant) -> Option<T>) -> T {
        loop {
            let mut stepped = pin!(self.stepped.notified());
            stepped.as_mut().enable();
            let next = match self.with(name, |group, now| ask(group, now).ok_or_else(|| group.next_change())) {
                Ok(answer) => return answer,
                Err(next) => next,
            };
            match next {
                Some(at) => drop(time::timeout_at(at, stepped).await),
                None => stepped.await,
            }
        }
    }

    fn has_room(&self, name: &str) -> bool {
        let mut groups = self.groups.lock().expect("no code panics while it holds the groups");
        if groups.len() >= GROUPS_MAX {
            let now = Instant::now();
            groups.retain(|_, group| {
                group.pass_time(now);
                !group.is_over()
            });
        }
        groups.len() < GROUPS_MAX || groups.contains_key(name)
    }
}

#[cfg(test)]
mod tests;
