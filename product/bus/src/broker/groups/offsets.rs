//! Offsets that groups commit. The log keeps them, as they decide what it may forget.

use std::collections::BTreeMap;

use super::requests::instance;
use crate::broker::{
    Node,
    error::ErrorCode,
    wire::{Malformed, Reader, Writer},
};

/// A group that has committed nothing.
const NOWHERE: i64 = -1;

pub(in crate::broker) fn commit(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let (group, generation, id) = (request.string()?, request.i32()?, request.string()?);
    instance(version, 7, request)?;
    if version < 5 {
        let _retention_ms = request.i64()?;
    }
    let topics = request.list(|request| {
        let commit = |request: &mut Reader| {
            let (partition, offset) = (request.i32()?, request.i64()?);
            if version >= 6 {
                let _leader_epoch = request.i32()?;
            }
            let _metadata = request.maybe_string()?;
            Ok((partition, offset))
        };
        Ok((request.string()?, request.list(commit)?))
    })?;
    request.end()?;
    let allowed = node.groups.may_commit(&group, &id, generation);
    if version >= 3 {
        to.i32(0);
    }
    to.list(topics, |to, (topic, commits)| {
        to.string(&topic);
        to.list(commits, |to, (partition, offset)| {
            to.i32(partition);
            to.i16(match allowed {
                ErrorCode::None => {
                    node.log.with(&topic, partition, |log| log.commit(&group, offset)).unwrap_or_else(|error| error)
                }
                refused => refused,
            });
        });
    });
    Ok(())
}

/// Without a wish: all there are.
pub(in crate::broker) fn fetch(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let group = request.string()?;
    let wanted = request.maybe_list(|request| Ok((request.string()?, request.list(Reader::i32)?)))?;
    request.end()?;
    let found = wanted.map_or_else(|| all(node, &group), |wanted| committed(node, &group, wanted));
    if version >= 3 {
        to.i32(0);
    }
    to.list(found, |to, (topic, places)| {
        to.string(&topic);
        to.list(places, |to, (partition, offset)| {
            to.i32(partition);
            to.i64(offset);
            if version >= 5 {
                to.i32(-1); // no epoch was committed
            }
            to.string("");
            to.i16(ErrorCode::None);
        });
    });
    if version >= 2 {
        to.i16(ErrorCode::None);
    }
    Ok(())
}

/// Topics with the offset of each partition.
type Offsets = Vec<(String, Vec<(i32, i64)>)>;

fn committed(node: &Node, group: &str, wanted: Vec<(String, Vec<i32>)>) -> Offsets {
    let of = |topic: &str, partition| {
        let offset = node.log.with(topic, partition, |log| log.committed(group));
        (partition, offset.ok().flatten().unwrap_or(NOWHERE))
    };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let offsets = partitions.into_iter().map(|partition| of(&topic, partition)).collect();
        (topic, offsets)
    });
    topics.collect()
}

fn all(node: &Node, group: &str) -> Offsets {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for place in node.log.committed(group) {
        topics.entry(place.topic).or_default().push((place.partition, place.offset));
    }
    topics.into_iter().collect()
}
