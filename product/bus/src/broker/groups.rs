//! The coordinator of groups: tansu's, but nobody is left with an assignment that nobody made.
//!
//! A follower waits seconds for its place in a group. When the leader's session ends meanwhile (it was killed, or the
//! machine stood still), tansu 0.6 forgets the leader within the follower's own sync and takes the follower's empty list for
//! the leader's plan: the group is formed, its only member owns nothing, and nobody reads until somebody joins or dies. Here
//! such a member is sent away; it joins again at once, and leads.

use async_trait::async_trait;
use tansu_broker::{
    Result,
    coordinator::group::{Coordinator, OffsetCommit, administrator::Controller},
};
use tansu_sans_io::{
    Body, ErrorCode,
    join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    sync_group_request::SyncGroupRequestAssignment,
};

use super::storage::Memory;

#[derive(Clone, Debug)]
pub(super) struct Groups(Controller<Memory>);

impl Groups {
    pub(super) fn new(storage: Memory) -> Result<Self> {
        Controller::with_storage(storage).map(Self)
    }
}

#[async_trait]
impl Coordinator for Groups {
    async fn sync(
        &mut self,
        group: &str,
        generation: i32,
        member: &str,
        instance: Option<&str>,
        protocol_type: Option<&str>,
        protocol: Option<&str>,
        assignments: Option<&[SyncGroupRequestAssignment]>,
    ) -> Result<Body> {
        let synced = self.0.sync(group, generation, member, instance, protocol_type, protocol, assignments).await?;
        match synced {
            // A leader's plan has at least a version for each member, also for one without partitions.
            Body::SyncGroupResponse(answer)
                if answer.error_code == i16::from(ErrorCode::None) && answer.assignment.is_empty() =>
            {
                self.0.leave(group, Some(member), None).await?;
                Ok(answer.error_code(ErrorCode::UnknownMemberId.into()).into())
            }
            synced => Ok(synced),
        }
    }

    async fn join(
        &mut self,
        client: Option<&str>,
        group: &str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: Option<i32>,
        member: &str,
        instance: Option<&str>,
        protocol_type: &str,
        protocols: Option<&[JoinGroupRequestProtocol]>,
        reason: Option<&str>,
    ) -> Result<Body> {
        let (session, rebalance) = (session_timeout_ms, rebalance_timeout_ms);
        self.0.join(client, group, session, rebalance, member, instance, protocol_type, protocols, reason).await
    }

    async fn heartbeat(&mut self, group: &str, generation: i32, member: &str, instance: Option<&str>) -> Result<Body> {
        self.0.heartbeat(group, generation, member, instance).await
    }

    async fn leave(&mut self, group: &str, member: Option<&str>, members: Option<&[MemberIdentity]>) -> Result<Body> {
        self.0.leave(group, member, members).await
    }

    async fn offset_commit(&mut self, detail: OffsetCommit<'_>) -> Result<Body> {
        self.0.offset_commit(detail).await
    }

    async fn offset_fetch(
        &mut self,
        group: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        self.0.offset_fetch(group, topics, groups, require_stable).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tansu_sans_io::{join_group_response::JoinGroupResponse, sync_group_response::SyncGroupResponse};

    use super::*;
    use crate::broker::{Args, Broker};

    /// Beyond the three seconds that a follower waits.
    const SESSION_MS: i32 = 4_000;

    async fn join(groups: &mut Groups, member: &str) -> JoinGroupResponse {
        let protocols = [JoinGroupRequestProtocol::default().name("sticky".to_owned())];
        let joined =
            groups.join(None, "group", SESSION_MS, None, member, None, "consumer", Some(&protocols), None).await;
        match joined {
            Ok(Body::JoinGroupResponse(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for an id and joins with it.
    async fn arrive(groups: &mut Groups) -> JoinGroupResponse {
        let id = join(groups, "").await.member_id;
        join(groups, &id).await
    }

    async fn sync(groups: &mut Groups, joined: &JoinGroupResponse) -> SyncGroupResponse {
        match groups.sync("group", joined.generation_id, &joined.member_id, None, None, None, Some(&[])).await {
            Ok(Body::SyncGroupResponse(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_follows_a_leader_that_died_leads_at_its_second_try() {
        let args = Args { broker_listen: "127.0.0.1:0".parse().expect("an address") };
        let broker = Broker::bind(args).await.expect("a free port");
        let mut groups = Groups::new(broker.storage).expect("a coordinator");
        let leader = arrive(&mut groups).await;
        assert_eq!(leader.leader, leader.member_id);

        // By tansu's clock, which is the system's.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let follower = arrive(&mut groups).await;
        assert_eq!(follower.leader, leader.member_id, "its session is not over when the other arrives");
        let synced = sync(&mut groups, &follower).await;
        assert_eq!(synced.error_code, i16::from(ErrorCode::UnknownMemberId), "{synced:?}");

        let again = arrive(&mut groups).await;
        assert_eq!(again.leader, again.member_id);
    }
}
