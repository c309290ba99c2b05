//! One group by Kafka's classic protocol: who is in, who leads, who reads what. Here nobody waits and nothing is sent.
//!
//! Nobody is given partitions before all members said what they hold (`Joining`), and no plan is followed but the leader's
//! (`Syncing`): so no partition has two readers, and none is left without one.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::broker::error::ErrorCode;

/// A member is a process; this many are far more than one machine runs.
const MEMBERS_MAX: usize = 256;
/// Of a client's name, in the id of its member.
const CLIENT_CHARS_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Group {
    phase: Phase,
    /// Grows with each completed join.
    generation: i32,
    /// "consumer", or what other clients use groups for.
    protocol_type: String,
    /// Strategy by which the leader plans.
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Ids that were given and not used yet, and until when they are kept.
    promised: HashMap<String, Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Empty,
    /// Waits for every member to join again, until a time.
    Joining(Instant),
    /// Waits for the leader's plan, until a time.
    Syncing(Instant),
    Stable,
}

/// What somebody brings who joins.
#[derive(Debug)]
pub(super) struct Newcomer<'a> {
    /// Empty: has none yet.
    pub(super) id: &'a str,
    pub(super) client: Option<&'a str>,
    /// Without a word for so long, a member is out.
    pub(super) session: Duration,
    /// For the others to join again.
    pub(super) rebalance: Duration,
    pub(super) protocol_type: &'a str,
    /// Name of a strategy and what is said to the leader, the favourite first.
    pub(super) protocols: &'a [(String, Bytes)],
}

/// The answer to a join.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) error: ErrorCode,
    pub(super) id: String,
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// For the leader, who plans: each member and what it says.
    pub(super) members: Vec<(String, Bytes)>,
}

#[derive(Debug)]
struct Member {
    session: Duration,
    rebalance: Duration,
    /// As of [`Newcomer`].
    protocols: Vec<(String, Bytes)>,
    heard: Instant,
    /// In a request of its own now, which is answered by the group: it cannot send another.
    waits: bool,
    assignment: Bytes,
}

impl Group {
    /// Begins a join. An error is the answer; otherwise the answer is [`Group::joined`] as soon as there is one.
    pub(super) fn join(&mut self, now: Instant, newcomer: &Newcomer<'_>) -> Result<(), ErrorCode> {
        let Newcomer { id, protocol_type, protocols, .. } = *newcomer;
        let is_known = self.members.contains_key(id);
        let others_agree = self.members.iter().filter(|(other, _)| *other != id).all(|(_, member)| {
            protocol_type == self.protocol_type
                && member.protocols.iter().any(|(name, _)| protocols.iter().any(|(offered, _)| offered == name))
        });
        if protocols.is_empty() || !others_agree {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if !is_known && self.promised.remove(id).is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let protocols = protocols.to_vec();
        let says_the_same = self.members.get(id).is_some_and(|member| member.protocols == protocols);
        let Newcomer { session, rebalance, .. } = *newcomer;
        let assignment = self.members.remove(id).map(|member| member.assignment).unwrap_or_default();
        let member = Member { session, rebalance, protocols, heard: now, waits: false, assignment };
        self.members.insert(id.to_owned(), member);
        protocol_type.clone_into(&mut self.protocol_type);
        match self.phase {
            Phase::Joining(_) => {}
            Phase::Syncing(_) if says_the_same => return Ok(()),
            Phase::Stable if says_the_same && id != self.leader => return Ok(()),
            Phase::Empty | Phase::Syncing(_) | Phase::Stable => self.rebalance(now),
        }
        if let Some(member) = self.members.get_mut(id) {
            member.waits = true;
        }
        self.begin_generation(now);
        Ok(())
    }

    /// An id for somebody who comes without.
    pub(super) fn promise(&mut self, now: Instant, newcomer: &Newcomer<'_>) -> Result<String, ErrorCode> {
        if self.members.len() + self.promised.len() >= MEMBERS_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let client = newcomer.client.unwrap_or("member").chars().take(CLIENT_CHARS_MAX);
        let id = format!("{}-{}", client.collect::<String>(), Uuid::new_v4());
        self.promised.insert(id.clone(), now + newcomer.session);
        Ok(id)
    }

    /// The answer to a join, once all have joined.
    pub(super) fn joined(&self, id: &str) -> Option<Joined> {
        let Some(member) = self.members.get(id) else { return Some(Joined::refused(id, ErrorCode::UnknownMemberId)) };
        if member.waits && matches!(self.phase, Phase::Joining(_)) {
            return None;
        }
        let members = if id == self.leader { self.members.iter() } else { Default::default() };
        Some(Joined {
            error: ErrorCode::None,
            id: id.to_owned(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.map(|(id, member)| (id.clone(), member.says(&self.protocol))).collect(),
        })
    }

    /// What `id` is to read, once the leader has said so. `plan` counts if it is the leader's.
    pub(super) fn sync(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
        plan: &HashMap<String, Bytes>,
    ) -> Option<Result<Bytes, ErrorCode>> {
        let fault = self.fault(id, generation);
        if fault != ErrorCode::None {
            return Some(Err(fault));
        }
        match self.phase {
            Phase::Empty | Phase::Joining(_) => return Some(Err(ErrorCode::RebalanceInProgress)),
            Phase::Syncing(_) if id == self.leader => {
                for (id, member) in &mut self.members {
                    member.assignment = plan.get(id).cloned().unwrap_or_default();
                }
                self.phase = Phase::Stable;
                self.answer_all(now);
            }
            Phase::Syncing(_) | Phase::Stable => {}
        }
        let is_planned = self.phase == Phase::Stable;
        let member = self.members.get_mut(id)?;
        member.heard = now;
        member.waits = !is_planned;
        is_planned.then(|| Ok(member.assignment.clone()))
    }

    pub(super) fn heartbeat(&mut self, now: Instant, id: &str, generation: i32) -> ErrorCode {
        if let Some(member) = self.members.get_mut(id) {
            member.heard = now;
        }
        match (self.fault(id, generation), self.phase) {
            (ErrorCode::None, Phase::Joining(_)) => ErrorCode::RebalanceInProgress,
            (fault, _) => fault,
        }
    }

    pub(super) fn leave(&mut self, now: Instant, id: &str) -> ErrorCode {
        let was_promised = self.promised.remove(id).is_some();
        if self.members.remove(id).is_none() {
            return if was_promised { ErrorCode::None } else { ErrorCode::UnknownMemberId };
        }
        self.lost(now);
        ErrorCode::None
    }

    /// Whether somebody may write offsets: a member of this generation, or, in an empty group, anybody.
    pub(super) fn commit(&mut self, id: &str, generation: i32) -> ErrorCode {
        match self.phase {
            Phase::Empty if generation < 0 => ErrorCode::None,
            Phase::Syncing(_) if self.fault(id, generation) == ErrorCode::None => ErrorCode::RebalanceInProgress,
            _ => self.fault(id, generation),
        }
    }

    /// Sees to it that nobody is waited for who is gone.
    pub(super) fn pass_time(&mut self, now: Instant) {
        self.promised.retain(|_, until| *until > now);
        let before = self.members.len();
        let too_late = self.until().is_some_and(|until| until <= now);
        self.members.retain(|_, member| member.waits || (now < member.heard + member.session && !too_late));
        if self.members.len() < before {
            self.lost(now);
        }
    }

    /// When time alone may change something.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let silent = self.members.values().filter(|member| !member.waits);
        silent.map(|member| member.heard + member.session).chain(self.until()).min()
    }

    /// Nothing here that a new group would not have, but for its generation.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Empty && self.promised.is_empty()
    }

    /// What those wait for who wait: changes with each step of the group.
    pub(super) fn step(&self) -> (Phase, i32) {
        (self.phase, self.generation)
    }

    /// What is waited for has to come before.
    fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Joining(until) | Phase::Syncing(until) => Some(until),
            Phase::Empty | Phase::Stable => None,
        }
    }

    fn fault(&self, id: &str, generation: i32) -> ErrorCode {
        if !self.members.contains_key(id) {
            ErrorCode::UnknownMemberId
        } else if generation != self.generation {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::None
        }
    }

    fn rebalance(&mut self, now: Instant) {
        self.phase = Phase::Joining(now + self.patience());
        self.answer_all(now);
    }

    /// If all have joined.
    fn begin_generation(&mut self, now: Instant) {
        if self.members.values().any(|member| !member.waits) {
            return;
        }
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let favourites = self.members.get(&self.leader).map_or(&[][..], |leader| &leader.protocols);
        let common = favourites.iter().find(|(name, _)| self.members.values().all(|member| member.knows(name)));
        self.protocol = common.map(|(name, _)| name.clone()).unwrap_or_default();
        self.generation = self.generation.wrapping_add(1).max(1);
        self.phase = Phase::Syncing(now + self.patience());
        self.answer_all(now);
    }

    /// As long as the most patient member would wait for the others.
    fn patience(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// Who waits is answered by what just happened, and has to be heard of again from now on.
    fn answer_all(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if std::mem::take(&mut member.waits) {
                member.heard = now;
            }
        }
    }

    /// Somebody is gone.
    fn lost(&mut self, now: Instant) {
        match self.phase {
            _ if self.members.is_empty() => self.phase = Phase::Empty,
            Phase::Joining(_) => self.begin_generation(now),
            Phase::Empty | Phase::Syncing(_) | Phase::Stable => self.rebalance(now),
        }
    }
}

impl Member {
    fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn says(&self, protocol: &str) -> Bytes {
        let said = self.protocols.iter().find(|(name, _)| name == protocol);
        said.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

impl Joined {
    /// No place is given.
    pub(super) fn refused(id: &str, error: ErrorCode) -> Self {
        Self {
            error,
            id: id.to_owned(),
            generation: -1,
            protocol: String::new(),
            leader: String::new(),
            members: Vec::new(),
        }
    }
}
