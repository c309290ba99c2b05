//! What is spoken, and who answers it.
//!
//! Of each request the versions before Kafka's compact forms, so that one form of everything is enough. Clients choose the
//! newest version that both sides know: librdkafka, and Kafka's own client up to 4, know these.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{
    Node,
    error::ErrorCode,
    fetch,
    groups::{offsets, requests},
    produce, topics,
    wire::{Malformed, Reader, Writer},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(super) enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    Versions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    InitProducerId = 22,
}

const SPOKEN: [(Api, RangeInclusive<i16>); 15] = [
    (Api::Produce, 3..=8),
    (Api::Fetch, 4..=11),
    (Api::ListOffsets, 1..=5),
    (Api::Metadata, 1..=8),
    (Api::OffsetCommit, 2..=7),
    (Api::OffsetFetch, 1..=5),
    (Api::FindCoordinator, 0..=2),
    (Api::JoinGroup, 4..=5), // since 4 a member is given its id before it joins
    (Api::Heartbeat, 0..=3),
    (Api::LeaveGroup, 0..=3),
    (Api::SyncGroup, 0..=3),
    (Api::Versions, 0..=3),
    (Api::CreateTopics, 2..=4),
    (Api::DeleteTopics, 1..=3),
    (Api::InitProducerId, 0..=1),
];

/// Why a connection ends: Kafka has no other answer to these.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("request {key} in version {version} is not spoken here")]
    Unspoken { key: i16, version: i16 },
    #[error("a request is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// The answer, as a frame, to a request without its length. None: none is wanted.
pub(super) async fn answer(node: &Node, request: Bytes) -> Result<Option<Bytes>, Refusal> {
    let mut request = Reader::new(request);
    let (key, version) = (request.i16()?, request.i16()?);
    let mut answer = Writer::answer_to(request.i32()?);
    let unspoken = Refusal::Unspoken { key, version };
    let (api, versions) = SPOKEN.iter().find(|(api, _)| *api as i16 == key).ok_or(unspoken)?;
    let is_spoken = versions.contains(&version);
    if *api == Api::Versions {
        // The rest is not read: from version 3 on it is in forms of its own, and says nothing we need.
        api_versions(is_spoken.then_some(version), &mut answer);
        return Ok(Some(answer.frame()));
    }
    if !is_spoken {
        return Err(Refusal::Unspoken { key, version });
    }
    let client = request.maybe_string()?;
    let (request, to) = (&mut request, &mut answer);
    match api {
        Api::Produce => {
            if !produce::produce(node, version, request, to)? {
                return Ok(None);
            }
        }
        Api::Fetch => fetch::fetch(node, version, request, to).await?,
        Api::ListOffsets => fetch::list_offsets(node, version, request, to)?,
        Api::Metadata => topics::metadata(node, version, request, to)?,
        Api::OffsetCommit => offsets::commit(node, version, request, to)?,
        Api::OffsetFetch => offsets::fetch(node, version, request, to)?,
        Api::FindCoordinator => requests::find_coordinator(node, version, request, to)?,
        Api::JoinGroup => requests::join(node, client.as_deref(), version, request, to).await?,
        Api::Heartbeat => requests::heartbeat(node, version, request, to)?,
        Api::LeaveGroup => requests::leave(node, version, request, to)?,
        Api::SyncGroup => requests::sync(node, version, request, to).await?,
        Api::Versions => {} // answered above
        Api::CreateTopics => topics::create(node, request, to)?,
        Api::DeleteTopics => topics::delete(node, request, to)?,
        Api::InitProducerId => produce::init_producer_id(node, request, to)?,
    }
    Ok(Some(answer.frame()))
}

/// Who asks in a version that is not spoken is answered in the first, and asks again.
fn api_versions(version: Option<i16>, to: &mut Writer) {
    to.i16(version.map_or(ErrorCode::UnsupportedVersion, |_| ErrorCode::None));
    let is_compact = version == Some(3);
    if is_compact {
        to.i8(SPOKEN.len() as i8 + 1);
    } else {
        to.i32(SPOKEN.len() as i32);
    }
    for (api, versions) in &SPOKEN {
        to.i16(*api as i16);
        to.i16(*versions.start());
        to.i16(*versions.end());
        if is_compact {
            to.i8(0); // no more fields
        }
    }
    if version.is_some_and(|version| version > 0) {
        to.i32(0); // nobody is throttled
    }
    if is_compact {
        to.i8(0);
    }
}

#[cfg(test)]
mod tests;
