//! What members ask of their coordinator, in Kafka's forms.

use std::time::Duration;

use super::group::Newcomer;
use crate::broker::{
    NODE_ID, Node,
    error::ErrorCode,
    wire::{Malformed, Reader, Writer},
};

/// There is one broker, and it coordinates all.
pub(in crate::broker) fn find_coordinator(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let _key = request.string()?;
    if version >= 1 {
        let _kind = request.i8()?;
    }
    request.end()?;
    throttle(version, to);
    to.i16(ErrorCode::None);
    if version >= 1 {
        to.null_string();
    }
    to.i32(NODE_ID);
    to.string(&node.address.ip().to_string());
    to.i32(node.address.port().into());
    Ok(())
}

pub(in crate::broker) async fn join(
    node: &Node,
    client: Option<&str>,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let group = request.string()?;
    let (session, rebalance) = (milliseconds(request.i32()?), milliseconds(request.i32()?));
    let id = request.string()?;
    instance(version, 5, request)?;
    let protocol_type = request.string()?;
    let protocols = request.list(|request| Ok((request.string()?, request.bytes()?)))?;
    request.end()?;
    let (id, protocol_type, protocols) = (&*id, &*protocol_type, &*protocols);
    let newcomer = Newcomer { id, client, session, rebalance, protocol_type, protocols };
    let joined = node.groups.join(&group, &newcomer).await;
    to.i32(0);
    to.i16(joined.error);
    to.i32(joined.generation);
    to.string(&joined.protocol);
    to.string(&joined.leader);
    to.string(&joined.id);
    to.list(joined.members, |to, (id, says)| {
        to.string(&id);
        if version >= 5 {
            to.null_string();
        }
        to.bytes(&says);
    });
    Ok(())
}

pub(in crate::broker) async fn sync(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let (group, generation, id) = (request.string()?, request.i32()?, request.string()?);
    instance(version, 3, request)?;
    let plan = request.list(|request| Ok((request.string()?, request.bytes()?)))?;
    request.end()?;
    let synced = node.groups.sync(&group, &id, generation, &plan.into_iter().collect()).await;
    throttle(version, to);
    to.i16(synced.as_ref().err().copied().unwrap_or(ErrorCode::None));
    to.bytes(&synced.unwrap_or_default());
    Ok(())
}

pub(in crate::broker) fn heartbeat(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let (group, generation, id) = (request.string()?, request.i32()?, request.string()?);
    instance(version, 3, request)?;
    request.end()?;
    throttle(version, to);
    to.i16(node.groups.heartbeat(&group, &id, generation));
    Ok(())
}

/// Up to version 2 one member leaves and reads one error, then several do and read one each.
pub(in crate::broker) fn leave(
    node: &Node,
    version: i16,
    request: &mut Reader,
    to: &mut Writer,
) -> Result<(), Malformed> {
    let group = request.string()?;
    if version < 3 {
        let id = request.string()?;
        request.end()?;
        throttle(version, to);
        to.i16(node.groups.leave(&group, &id));
        return Ok(());
    }
    let ids = request.list(|request| {
        let id = request.string()?;
        instance(version, 3, request)?;
        Ok(id)
    })?;
    request.end()?;
    to.i32(0);
    to.i16(ErrorCode::None);
    to.list(ids, |to, id| {
        to.string(&id);
        to.null_string();
        to.i16(node.groups.leave(&group, &id));
    });
    Ok(())
}

/// `group.instance.id`, told since some version.
pub(super) fn instance(version: i16, since: i16, request: &mut Reader) -> Result<(), Malformed> {
    if version >= since {
        let _instance = request.maybe_string()?;
    }
    Ok(())
}

fn throttle(version: i16, to: &mut Writer) {
    if version >= 1 {
        to.i32(0);
    }
}

/// What is negative is no time.
fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(ms.try_into().unwrap_or(0))
}
