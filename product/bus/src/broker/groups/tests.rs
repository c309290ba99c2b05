//! Members that come, go and die at every step of a group's forming.

use tansu_sans_io::{join_group_response::JoinGroupResponse, sync_group_response::SyncGroupResponse};
use tokio::task::JoinHandle;

use super::*;
use crate::broker::{Args, Broker};

const SESSION_MS: i32 = 1_000;
const REBALANCE_MS: i32 = 60_000;

#[derive(Clone)]
struct Member {
    groups: Groups,
    id: String,
}

impl Member {
    async fn arrive(groups: &Groups) -> Self {
        let mut member = Self { groups: groups.clone(), id: String::new() };
        let promised = member.join().await;
        assert_eq!(promised.error_code, i16::from(ErrorCode::MemberIdRequired));
        member.id = promised.member_id;
        member
    }

    async fn join(&mut self) -> JoinGroupResponse {
        let protocols = [JoinGroupRequestProtocol::default().name("sticky".to_owned())];
        let (session, rebalance, id) = (SESSION_MS, Some(REBALANCE_MS), self.id.clone());
        let joined =
            self.groups.join(None, "group", session, rebalance, &id, None, "consumer", Some(&protocols), None).await;
        match joined {
            Ok(Body::JoinGroupResponse(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Without waiting for the others.
    fn joining(&self) -> JoinHandle<JoinGroupResponse> {
        let mut member = self.clone();
        tokio::spawn(async move { member.join().await })
    }

    async fn sync(&mut self, generation: i32, plan: &[(&str, &'static str)]) -> SyncGroupResponse {
        let plan: Vec<_> = plan
            .iter()
            .map(|(id, reads)| {
                SyncGroupRequestAssignment::default().member_id((*id).to_owned()).assignment((*reads).into())
            })
            .collect();
        let id = self.id.clone();
        match self.groups.sync("group", generation, &id, None, None, None, Some(&plan)).await {
            Ok(Body::SyncGroupResponse(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn syncing(&self, generation: i32) -> JoinHandle<SyncGroupResponse> {
        let mut member = self.clone();
        tokio::spawn(async move { member.sync(generation, &[]).await })
    }

    async fn heartbeat(&mut self, generation: i32) -> ErrorCode {
        let id = self.id.clone();
        match self.groups.heartbeat("group", generation, &id, None).await {
            Ok(Body::HeartbeatResponse(answer)) => ErrorCode::try_from(answer.error_code).expect("a code"),
            other => panic!("{other:?}"),
        }
    }

    async fn leave(&mut self) {
        let id = self.id.clone();
        let left = self.groups.leave("group", Some(&id), None).await.expect("an answer");
        assert!(matches!(left, Body::LeaveGroupResponse(answer) if answer.error_code == 0));
    }
}

async fn coordinator() -> Groups {
    let args = Args { broker_listen: "127.0.0.1:0".parse().expect("an address") };
    Groups::new(Broker::bind(args).await.expect("a free port").storage)
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::try_from(code).expect("a code")
}

/// A group of two in its first common generation.
async fn pair() -> (Member, Member, i32) {
    let groups = coordinator().await;
    let (mut leader, follower) = (Member::arrive(&groups).await, Member::arrive(&groups).await);
    let alone = leader.join().await;
    assert_eq!(leader.sync(alone.generation_id, &[(&leader.id.clone(), "all")]).await.assignment, "all");
    let second = follower.joining();
    while leader.heartbeat(alone.generation_id).await != ErrorCode::RebalanceInProgress {
        tokio::task::yield_now().await;
    }
    let first = leader.join().await;
    assert_eq!((&first.leader, first.members.as_ref().map(Vec::len)), (&leader.id, Some(2)));
    let second = second.await.expect("an answer");
    assert_eq!((second.generation_id, second.members.map(|members| members.len())), (first.generation_id, Some(0)));
    (leader, follower, first.generation_id)
}

/// The same, with its plan.
async fn settled_pair() -> (Member, Member, i32) {
    let (mut leader, follower, generation) = pair().await;
    let plan = [(leader.id.clone(), "left"), (follower.id.clone(), "right")];
    let plan: Vec<_> = plan.iter().map(|(id, reads)| (id.as_str(), *reads)).collect();
    assert_eq!(leader.sync(generation, &plan).await.assignment, "left");
    (leader, follower, generation)
}

#[tokio::test]
async fn everybody_reads_what_the_leader_planned() {
    let (leader, mut follower, generation) = settled_pair().await;
    assert_eq!(follower.sync(generation, &[]).await.assignment, "right");
    assert_eq!(follower.heartbeat(generation - 1).await, ErrorCode::IllegalGeneration);
    let described = leader.groups.storage.describe_groups(Some(&["group".to_owned()]), false).await.expect("a group");
    assert!(format!("{described:?}").contains(&follower.id), "{described:?}");
}

#[tokio::test]
async fn a_plan_is_waited_for() {
    let (mut leader, follower, generation) = pair().await;
    let waiting = follower.syncing(generation);
    tokio::task::yield_now().await;
    assert_eq!(leader.sync(generation, &[(&follower.id, "all")]).await.assignment, "");
    assert_eq!(waiting.await.expect("an answer").assignment, "all");
}

#[tokio::test]
async fn a_leader_that_leaves_while_its_plan_is_waited_for_is_followed_by_another() {
    let (mut leader, mut follower, generation) = pair().await;
    let waiting = follower.syncing(generation);
    leader.leave().await;
    assert_eq!(error(waiting.await.expect("an answer").error_code), ErrorCode::RebalanceInProgress);
    let alone = follower.join().await;
    assert_eq!(alone.leader, follower.id);
    let all = [(follower.id.clone(), "all")];
    assert_eq!(follower.sync(alone.generation_id, &[(&all[0].0, "all")]).await.assignment, "all");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_while_its_plan_is_waited_for_is_out_with_its_session() {
    let (leader, mut follower, generation) = pair().await;
    let started = Instant::now();
    let synced = follower.sync(generation, &[]).await;
    assert_eq!(error(synced.error_code), ErrorCode::RebalanceInProgress);
    assert!(started.elapsed() <= Duration::from_millis(1_100), "{:?}", started.elapsed());
    let alone = follower.join().await;
    assert_eq!((&alone.leader, alone.members.map(|members| members.len())), (&follower.id, Some(1)));
    assert_eq!(leader.clone().heartbeat(generation).await, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_join_again_holds_up_the_others_for_its_session_at_most() {
    let (mut leader, _silent, _) = settled_pair().await;
    let started = Instant::now();
    let third = Member::arrive(&leader.groups).await;
    let third = third.joining();
    let first = leader.join().await;
    assert_eq!(first.members.map(|members| members.len()), Some(2), "the silent one is out");
    assert_eq!(third.await.expect("an answer").generation_id, first.generation_id);
    assert!(started.elapsed() <= Duration::from_millis(1_100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_lives_and_does_not_join_again_is_out_with_the_rebalance() {
    let (leader, mut stubborn, generation) = settled_pair().await;
    let started = Instant::now();
    let mut joined = leader.joining();
    let first = loop {
        tokio::select! {
            first = &mut joined => break first.expect("an answer"),
            () = time::sleep(Duration::from_millis(500)) => drop(stubborn.heartbeat(generation).await),
        }
    };
    assert_eq!(first.members.map(|members| members.len()), Some(1));
    assert!(started.elapsed() >= Duration::from_millis(REBALANCE_MS as u64), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_kafkas_words() {
    let (leader, _follower, _) = pair().await;
    let mut stranger = Member { id: "stranger".to_owned(), ..leader.clone() };
    assert_eq!(error(stranger.join().await.error_code), ErrorCode::UnknownMemberId);
    let mut groups = leader.groups.clone();
    let other = [JoinGroupRequestProtocol::default().name("other".to_owned())];
    for (name, session, protocols, expected) in [
        ("", SESSION_MS, &other[..], ErrorCode::InvalidGroupId),
        ("group", 1, &other[..], ErrorCode::InvalidSessionTimeout),
        ("group", SESSION_MS, &other[..], ErrorCode::InconsistentGroupProtocol),
        ("group", SESSION_MS, &[], ErrorCode::InconsistentGroupProtocol),
    ] {
        let answer = groups.join(None, name, session, None, "somebody", None, "consumer", Some(protocols), None).await;
        let Ok(Body::JoinGroupResponse(answer)) = answer else { panic!("{answer:?}") };
        assert_eq!(error(answer.error_code), expected);
    }
}

#[tokio::test]
async fn only_members_of_this_generation_commit_offsets() {
    let (leader, _follower, generation) = pair().await;
    let mut groups = leader.groups.clone();
    for (id, generation, expected) in [
        (leader.id.as_str(), generation, ErrorCode::RebalanceInProgress),
        (leader.id.as_str(), generation - 1, ErrorCode::IllegalGeneration),
        ("stranger", generation, ErrorCode::UnknownMemberId),
        ("", -1, ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(groups.with("group", |group, _| group.commit(id, generation)), expected);
    }
    assert_eq!(groups.with("another", |group, _| group.commit("", -1)), ErrorCode::None);
    let body = groups.offset_fetch(Some("another"), None, None, None).await.expect("an answer");
    assert!(matches!(body, Body::OffsetFetchResponse(answer) if answer.error_code == Some(0)));
}

#[tokio::test]
async fn a_group_that_everybody_left_takes_no_room() {
    let (mut leader, mut follower, _) = pair().await;
    leader.leave().await;
    follower.leave().await;
    assert!(leader.groups.groups.lock().expect("no panic").is_empty());
}
