//! What there is: the one broker, its topics and their partitions.

use super::{
    NODE_ID, Node,
    error::ErrorCode,
    wire::{Malformed, Reader, Writer},
};

/// "What I am allowed to do" was not asked for, and is everything.
const NOT_SAID: i32 = i32::MIN;
/// Who leaves the number to the broker gets one partition, as from Kafka.
const PARTITIONS: i32 = 1;

pub(super) fn metadata(node: &Node, version: i16, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let asked = request.maybe_list(Reader::string)?;
    if version >= 4 {
        let _create = request.boolean()?; // topics are created on request
    }
    if version >= 8 {
        let _say_what_is_allowed = (request.boolean()?, request.boolean()?);
    }
    request.end()?;
    let topics = match asked {
        None => node.log.all(),
        Some(names) => names
            .into_iter()
            .map(|name| {
                let partitions = node.log.partitions(&name);
                (name, partitions)
            })
            .collect(),
    };
    if version >= 3 {
        to.i32(0);
    }
    to.list([node.address], |to, address| {
        to.i32(NODE_ID);
        to.string(&address.ip().to_string());
        to.i32(address.port().into());
        to.null_string(); // no rack
    });
    if version >= 2 {
        to.string(&node.cluster_id);
    }
    to.i32(NODE_ID); // the controller
    to.list(topics, |to, (name, partitions)| {
        to.i16(partitions.map_or(ErrorCode::UnknownTopicOrPartition, |_| ErrorCode::None));
        to.string(&name);
        to.boolean(false); // not one of Kafka's own
        to.list(0..partitions.unwrap_or(0) as i32, |to, partition| write_partition(version, partition, to));
        if version >= 8 {
            to.i32(NOT_SAID);
        }
    });
    if version >= 8 {
        to.i32(NOT_SAID);
    }
    Ok(())
}

fn write_partition(version: i16, partition: i32, to: &mut Writer) {
    to.i16(ErrorCode::None);
    to.i32(partition);
    to.i32(NODE_ID);
    if version >= 7 {
        to.i32(0); // nobody else has ever led
    }
    to.list([NODE_ID], Writer::i32); // replicas
    to.list([NODE_ID], Writer::i32); // in sync
    if version >= 5 {
        to.list([], Writer::i32); // offline
    }
}

pub(super) fn create(node: &Node, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let topics = request.list(|request| {
        let (name, partitions, _replicas) = (request.string()?, request.i32()?, request.i16()?);
        let _assignments = request.list(|request| Ok((request.i32()?, request.list(Reader::i32)?)))?;
        let _settings = request.list(|request| Ok((request.string()?, request.maybe_string()?)))?;
        Ok((name, if partitions == -1 { PARTITIONS } else { partitions }))
    })?;
    let _timeout_ms = request.i32()?;
    let only_validate = request.boolean()?;
    request.end()?;
    to.i32(0);
    to.list(topics, |to, (name, partitions)| {
        to.string(&name);
        to.i16(node.log.create(&name, partitions, only_validate));
        to.null_string(); // the code says it
    });
    Ok(())
}

pub(super) fn delete(node: &Node, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let topics = request.list(Reader::string)?;
    let _timeout_ms = request.i32()?;
    request.end()?;
    to.i32(0);
    to.list(topics, |to, name| {
        to.string(&name);
        to.i16(node.log.delete(&name));
    });
    Ok(())
}
