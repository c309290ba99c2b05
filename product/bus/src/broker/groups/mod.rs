//! The coordinator of consumer groups, ours instead of tansu's.
//!
//! In tansu 0.6 a leader that leaves while its group forms stays the leader: everybody waits for its plan, and nobody reads
//! again. A follower whose leader dies is given the empty plan; and each join sleeps three seconds. A group that stands
//! still is lost effects and a long rebalance is lag, so the rules are here, as Kafka's own coordinator has them. Static
//! members (`group.instance.id`) are treated like others.

mod group;
mod offsets;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tansu_broker::{
    Result,
    coordinator::group::{Coordinator, OffsetCommit},
};
use tansu_sans_io::{
    Body, ErrorCode,
    heartbeat_response::HeartbeatResponse,
    join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity,
    leave_group_response::{LeaveGroupResponse, MemberResponse},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    sync_group_request::SyncGroupRequestAssignment,
    sync_group_response::SyncGroupResponse,
};
use tansu_storage::{Storage as _, UpdateError};
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use super::storage::Memory;
use group::{Group, Newcomer};

/// Groups that have members; more is a client that invents names.
const GROUPS_MAX: usize = 1_000;
/// Kafka's own upper bound. Shorter than the lower one is a busy machine taken for a dead one.
const SESSION_MS: std::ops::RangeInclusive<i32> = 1_000..=1_800_000;

#[derive(Clone, Debug)]
pub(super) struct Groups {
    storage: Memory,
    groups: Arc<Mutex<HashMap<String, Group>>>,
    /// Told of each step of a group.
    stepped: Arc<Notify>,
}

impl Groups {
    pub(super) fn new(storage: Memory) -> Self {
        Self { storage, groups: Arc::default(), stepped: Arc::default() }
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

    /// Writes down who is in the group, where those find it who ask for all groups.
    async fn describe(&self, name: &str) {
        let mut version = None;
        // It is there from before, so the second try knows which version it replaces; a third meets another describer.
        for _ in 0..3 {
            let detail = self.with(name, |group, _| group.detail());
            match self.storage.update_group(name, detail, version.take()).await {
                Err(UpdateError::Outdated { version: current, .. }) => version = Some(current),
                Ok(_) => return,
                Err(error) => return tracing::debug!("could not describe group {name}: {error:?}"),
            }
        }
    }
}

#[async_trait]
impl Coordinator for Groups {
    async fn join(
        &mut self,
        client: Option<&str>,
        name: &str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: Option<i32>,
        id: &str,
        _instance: Option<&str>,
        protocol_type: &str,
        protocols: Option<&[JoinGroupRequestProtocol]>,
        _reason: Option<&str>,
    ) -> Result<Body> {
        let refuse = |error| Ok(group::refusal(id, error).into());
        if name.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        if !SESSION_MS.contains(&session_timeout_ms) {
            return refuse(ErrorCode::InvalidSessionTimeout);
        }
        if !self.has_room(name) {
            return refuse(ErrorCode::CoordinatorNotAvailable);
        }
        let milliseconds = |ms: i32| Duration::from_millis(ms.unsigned_abs().into());
        // The oldest clients say one time for both.
        let rebalance = rebalance_timeout_ms.filter(|ms| *ms > 0).unwrap_or(session_timeout_ms);
        let newcomer = Newcomer {
            id,
            client,
            session: milliseconds(session_timeout_ms),
            rebalance: milliseconds(rebalance),
            protocol_type,
            protocols: protocols.unwrap_or_default(),
        };
        if id.is_empty() {
            return match self.with(name, |group, now| group.promise(now, &newcomer)) {
                Ok(id) => Ok(group::refusal(&id, ErrorCode::MemberIdRequired).into()),
                Err(error) => refuse(error),
            };
        }
        if let Err(error) = self.with(name, |group, now| group.join(now, &newcomer)) {
            return refuse(error);
        }
        Ok(self.until(name, |group, _| group.joined(id)).await.into())
    }

    async fn sync(
        &mut self,
        name: &str,
        generation: i32,
        id: &str,
        _instance: Option<&str>,
        protocol_type: Option<&str>,
        protocol_name: Option<&str>,
        assignments: Option<&[SyncGroupRequestAssignment]>,
    ) -> Result<Body> {
        let plan = assignments.unwrap_or_default().iter();
        let plan = plan.map(|place| (place.member_id.as_str(), &place.assignment)).collect();
        let synced = self.until(name, |group, now| group.sync(now, id, generation, &plan)).await;
        if !plan.is_empty() {
            self.describe(name).await;
        }
        let answer = SyncGroupResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(synced.as_ref().err().copied().unwrap_or(ErrorCode::None).into())
            .protocol_type(protocol_type.map(str::to_owned))
            .protocol_name(protocol_name.map(str::to_owned))
            .assignment(synced.unwrap_or_default());
        Ok(answer.into())
    }

    async fn heartbeat(&mut self, name: &str, generation: i32, id: &str, _instance: Option<&str>) -> Result<Body> {
        let outcome = self.with(name, |group, now| group.heartbeat(now, id, generation));
        Ok(HeartbeatResponse::default().throttle_time_ms(Some(0)).error_code(outcome.into()).into())
    }

    async fn leave(&mut self, name: &str, id: Option<&str>, members: Option<&[MemberIdentity]>) -> Result<Body> {
        let ids = id.into_iter().chain(members.unwrap_or_default().iter().map(|member| member.member_id.as_str()));
        let left: Vec<_> = ids.map(|id| (id, self.with(name, |group, now| group.leave(now, id)))).collect();
        self.describe(name).await;
        // Clients that leave alone read one error, others one for each.
        let alone = left.first().filter(|_| id.is_some()).map_or(ErrorCode::None, |(_, outcome)| *outcome);
        let members = left
            .iter()
            .map(|(id, outcome)| MemberResponse::default().member_id((*id).to_owned()).error_code((*outcome).into()));
        let answer = LeaveGroupResponse::default().throttle_time_ms(Some(0)).error_code(alone.into());
        Ok(answer.members(Some(members.collect())).into())
    }

    async fn offset_commit(&mut self, commit: OffsetCommit<'_>) -> Result<Body> {
        let id = commit.member_id.unwrap_or_default();
        let generation = commit.generation_id_or_member_epoch.unwrap_or(-1);
        let allowed = self.with(commit.group_id, |group, _| group.commit(id, generation));
        offsets::commit(&self.storage, &commit, allowed).await
    }

    async fn offset_fetch(
        &mut self,
        name: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        offsets::fetch(&self.storage, name, topics, groups, require_stable).await
    }
}

#[cfg(test)]
mod tests;
