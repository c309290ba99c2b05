//! Offsets that groups commit: written and read in Kafka's forms, kept by the storage.

use std::{collections::BTreeMap, time::Duration};

use tansu_broker::{Result, coordinator::group::OffsetCommit};
use tansu_sans_io::{
    Body, ErrorCode,
    offset_commit_response::{OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    offset_fetch_response::{
        OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};
use tansu_storage::{OffsetCommitRequest, Storage as _, Topition};

use crate::broker::storage::Memory;

/// Writes what is `allowed`; otherwise that is the answer for each partition.
pub(super) async fn commit(storage: &Memory, commit: &OffsetCommit<'_>, allowed: ErrorCode) -> Result<Body> {
    let mut offsets = Vec::new();
    for topic in commit.topics.unwrap_or_default() {
        for partition in topic.partitions.iter().flatten() {
            let place = Topition::new(topic.name.clone(), partition.partition_index);
            offsets.push((place, OffsetCommitRequest::try_from(partition)?));
        }
    }
    let retention = commit.retention_time_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let outcomes = match allowed {
        ErrorCode::None => storage.offset_commit(commit.group_id, retention, &offsets).await?,
        refused => offsets.into_iter().map(|(place, _)| (place, refused)).collect(),
    };
    let topics = by_topic(outcomes, |number, outcome| {
        OffsetCommitResponsePartition::default().partition_index(number).error_code(outcome.into())
    });
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetCommitResponseTopic::default().name(name).partitions(Some(partitions)));
    Ok(OffsetCommitResponse::default().throttle_time_ms(Some(0)).topics(Some(topics.collect())).into())
}

/// Older clients ask for one group and read `topics`, newer ones for several and read `groups`.
pub(super) async fn fetch(
    storage: &Memory,
    name: Option<&str>,
    topics: Option<&[OffsetFetchRequestTopic]>,
    groups: Option<&[OffsetFetchRequestGroup]>,
    require_stable: Option<bool>,
) -> Result<Body> {
    let mut answer = OffsetFetchResponse::default().throttle_time_ms(Some(0)).error_code(Some(ErrorCode::None.into()));
    if let Some(groups) = groups {
        let mut answers = Vec::new();
        for group in groups {
            let wanted = group.topics.iter().flatten().map(|topic| (&topic.name, &topic.partition_indexes));
            let wanted = group.topics.as_ref().map(|_| places(wanted));
            let committed = committed(storage, &group.group_id, wanted, require_stable).await?;
            let topics = by_topic(committed, |number, offset| {
                OffsetFetchResponsePartitions::default()
                    .partition_index(number)
                    .committed_offset(offset)
                    .committed_leader_epoch(-1)
                    .error_code(ErrorCode::None.into())
            });
            let topics = topics
                .into_iter()
                .map(|(name, partitions)| OffsetFetchResponseTopics::default().name(name).partitions(Some(partitions)));
            let group = OffsetFetchResponseGroup::default().group_id(group.group_id.clone());
            answers.push(group.topics(Some(topics.collect())).error_code(ErrorCode::None.into()));
        }
        answer = answer.groups(Some(answers));
    } else if let Some(name) = name {
        let wanted = topics.map(|topics| places(topics.iter().map(|topic| (&topic.name, &topic.partition_indexes))));
        let committed = committed(storage, name, wanted, require_stable).await?;
        let topics = by_topic(committed, |number, offset| {
            OffsetFetchResponsePartition::default()
                .partition_index(number)
                .committed_offset(offset)
                .committed_leader_epoch(Some(-1))
                .metadata(Some(String::new()))
                .error_code(ErrorCode::None.into())
        });
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| OffsetFetchResponseTopic::default().name(name).partitions(Some(partitions)));
        answer = answer.topics(Some(topics.collect()));
    }
    Ok(answer.into())
}

/// Without a wish: all there are.
async fn committed(
    storage: &Memory,
    group: &str,
    wanted: Option<Vec<Topition>>,
    require_stable: Option<bool>,
) -> Result<BTreeMap<Topition, i64>> {
    Ok(match wanted {
        Some(wanted) => storage.offset_fetch(Some(group), &wanted, require_stable).await?,
        None => storage.committed_offset_topitions(group).await?,
    })
}

fn places<'a>(topics: impl Iterator<Item = (&'a String, &'a Option<Vec<i32>>)>) -> Vec<Topition> {
    let places =
        topics.flat_map(|(name, numbers)| numbers.iter().flatten().map(|number| Topition::new(name.clone(), *number)));
    places.collect()
}

fn by_topic<V, P>(
    values: impl IntoIterator<Item = (Topition, V)>,
    partition: impl Fn(i32, V) -> P,
) -> BTreeMap<String, Vec<P>> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for (place, value) in values {
        topics.entry(place.topic().to_owned()).or_default().push(partition(place.partition(), value));
    }
    topics
}
