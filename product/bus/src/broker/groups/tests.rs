//! Members that come, go and die at every step of a group's forming.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::*;

const SESSION: Duration = Duration::from_secs(1);
const REBALANCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Member {
    groups: Arc<Groups>,
    id: String,
}

impl Member {
    async fn arrive(groups: &Arc<Groups>) -> Self {
        let mut member = Self { groups: groups.clone(), id: String::new() };
        let promised = member.join().await;
        assert_eq!(promised.error, ErrorCode::MemberIdRequired);
        member.id = promised.id;
        member
    }

    async fn join(&self) -> Joined {
        self.groups.join("group", &newcomer(&self.id, SESSION, &sticky())).await
    }

    /// Without waiting for the others.
    fn joining(&self) -> JoinHandle<Joined> {
        let member = self.clone();
        tokio::spawn(async move { member.join().await })
    }

    async fn sync(&self, generation: i32, plan: &[(&Member, &'static str)]) -> Result<Bytes, ErrorCode> {
        let plan = plan.iter().map(|(member, reads)| (member.id.clone(), Bytes::from_static(reads.as_bytes())));
        self.groups.sync("group", &self.id, generation, &plan.collect()).await
    }

    fn syncing(&self, generation: i32) -> JoinHandle<Result<Bytes, ErrorCode>> {
        let member = self.clone();
        tokio::spawn(async move { member.sync(generation, &[]).await })
    }

    fn heartbeat(&self, generation: i32) -> ErrorCode {
        self.groups.heartbeat("group", &self.id, generation)
    }

    fn leave(&self) {
        assert_eq!(self.groups.leave("group", &self.id), ErrorCode::None);
    }
}

fn sticky() -> Vec<(String, Bytes)> {
    vec![("sticky".to_owned(), Bytes::new())]
}

fn newcomer<'a>(id: &'a str, session: Duration, protocols: &'a [(String, Bytes)]) -> Newcomer<'a> {
    Newcomer { id, client: None, session, rebalance: REBALANCE, protocol_type: "consumer", protocols }
}

fn reads(what: &'static str) -> Result<Bytes, ErrorCode> {
    Ok(Bytes::from_static(what.as_bytes()))
}

/// A group of two in its first common generation.
async fn pair() -> (Member, Member, i32) {
    let groups = Arc::default();
    let (leader, follower) = (Member::arrive(&groups).await, Member::arrive(&groups).await);
    let alone = leader.join().await;
    assert_eq!(leader.sync(alone.generation, &[(&leader, "all")]).await, reads("all"));
    let second = follower.joining();
    while leader.heartbeat(alone.generation) != ErrorCode::RebalanceInProgress {
        tokio::task::yield_now().await;
    }
    let first = leader.join().await;
    assert_eq!((&first.leader, first.members.len()), (&leader.id, 2));
    let second = second.await.expect("an answer");
    assert_eq!((second.generation, second.members.len()), (first.generation, 0));
    (leader, follower, first.generation)
}

/// The same, with its plan.
async fn settled_pair() -> (Member, Member, i32) {
    let (leader, follower, generation) = pair().await;
    assert_eq!(leader.sync(generation, &[(&leader, "left"), (&follower, "right")]).await, reads("left"));
    (leader, follower, generation)
}

#[tokio::test]
async fn everybody_reads_what_the_leader_planned() {
    let (_leader, follower, generation) = settled_pair().await;
    assert_eq!(follower.sync(generation, &[]).await, reads("right"));
    assert_eq!(follower.heartbeat(generation - 1), ErrorCode::IllegalGeneration);
}

#[tokio::test]
async fn a_plan_is_waited_for() {
    let (leader, follower, generation) = pair().await;
    let waiting = follower.syncing(generation);
    tokio::task::yield_now().await;
    assert_eq!(leader.sync(generation, &[(&follower, "all")]).await, reads(""));
    assert_eq!(waiting.await.expect("an answer"), reads("all"));
}

#[tokio::test]
async fn a_leader_that_leaves_while_its_plan_is_waited_for_is_followed_by_another() {
    let (leader, follower, generation) = pair().await;
    let waiting = follower.syncing(generation);
    leader.leave();
    assert_eq!(waiting.await.expect("an answer"), Err(ErrorCode::RebalanceInProgress));
    let alone = follower.join().await;
    assert_eq!(alone.leader, follower.id);
    assert_eq!(follower.sync(alone.generation, &[(&follower, "all")]).await, reads("all"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_while_its_plan_is_waited_for_is_out_with_its_session() {
    let (leader, follower, generation) = pair().await;
    let started = Instant::now();
    let synced = follower.sync(generation, &[]).await;
    assert_eq!(synced, Err(ErrorCode::RebalanceInProgress));
    assert!(started.elapsed() <= Duration::from_millis(1_100), "{:?}", started.elapsed());
    let alone = follower.join().await;
    assert_eq!((&alone.leader, alone.members.len()), (&follower.id, 1));
    assert_eq!(leader.heartbeat(generation), ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_join_again_holds_up_the_others_for_its_session_at_most() {
    let (leader, _silent, _) = settled_pair().await;
    let started = Instant::now();
    let third = Member::arrive(&leader.groups).await;
    let third = third.joining();
    let first = leader.join().await;
    assert_eq!(first.members.len(), 2, "the silent one is out");
    assert_eq!(third.await.expect("an answer").generation, first.generation);
    assert!(started.elapsed() <= Duration::from_millis(1_100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_lives_and_does_not_join_again_is_out_with_the_rebalance() {
    let (leader, stubborn, generation) = settled_pair().await;
    let started = Instant::now();
    let mut joined = leader.joining();
    let first = loop {
        tokio::select! {
            first = &mut joined => break first.expect("an answer"),
            () = time::sleep(Duration::from_millis(500)) => drop(stubborn.heartbeat(generation)),
        }
    };
    assert_eq!(first.members.len(), 1);
    assert!(started.elapsed() >= REBALANCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_kafkas_words() {
    let (leader, _follower, _) = pair().await;
    let stranger = Member { id: "stranger".to_owned(), ..leader.clone() };
    assert_eq!(stranger.join().await.error, ErrorCode::UnknownMemberId);
    let other = [("other".to_owned(), Bytes::new())];
    for (name, session, protocols, expected) in [
        ("", SESSION, &other[..], ErrorCode::InvalidGroupId),
        ("group", SESSION / 2, &other[..], ErrorCode::InvalidSessionTimeout),
        ("group", SESSION, &other[..], ErrorCode::InconsistentGroupProtocol),
        ("group", SESSION, &[], ErrorCode::InconsistentGroupProtocol),
    ] {
        let joined = leader.groups.join(name, &newcomer("somebody", session, protocols)).await;
        assert_eq!(joined.error, expected);
    }
}

#[tokio::test]
async fn only_members_of_this_generation_commit_offsets() {
    let (leader, _follower, generation) = pair().await;
    let groups = leader.groups.clone();
    for (id, generation, expected) in [
        (leader.id.as_str(), generation, ErrorCode::RebalanceInProgress),
        (leader.id.as_str(), generation - 1, ErrorCode::IllegalGeneration),
        ("stranger", generation, ErrorCode::UnknownMemberId),
        ("", -1, ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(groups.may_commit("group", id, generation), expected);
    }
    assert_eq!(groups.may_commit("another", "", -1), ErrorCode::None);
}

#[tokio::test]
async fn a_group_that_everybody_left_takes_no_room() {
    let (leader, follower, _) = pair().await;
    leader.leave();
    follower.leave();
    assert!(leader.groups.groups.lock().expect("no panic").is_empty());
}
