//! What consumers read. A fetch is held back until there is something to read or the client's wait is over.

use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use super::{
    Node,
    error::ErrorCode,
    wire::{Malformed, Reader, Writer},
};

/// No client is kept waiting for longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Records in one answer, whatever is asked for; more if the first batch is larger.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Times that mean places.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// No offset, no time.
const NONE: i64 = -1;

struct Wanted {
    partition: i32,
    offset: i64,
    bytes_max: usize,
}

pub(super) async fn fetch(node: &Node, version: i16, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let _replica = request.i32()?;
    let wait_ms = request.i32()?;
    let bytes_min = request.i32()?;
    let bytes_max = bytes(request.i32()?).min(ANSWER_BYTES_MAX);
    let _isolation = request.i8()?; // without transactions all is committed
    if version >= 7 {
        let _session = (request.i32()?, request.i32()?);
    }
    let wanted = |request: &mut Reader| wanted(version, request);
    let topics = request.list(|request| Ok((request.string()?, request.list(wanted)?)))?;
    if version >= 7 {
        let _forgotten = request.list(|request| Ok((request.string()?, request.list(Reader::i32)?)))?;
    }
    if version >= 11 {
        let _rack = request.string()?;
    }
    request.end()?;

    if bytes_min > 0 {
        let wait = Duration::from_millis(wait_ms.try_into().unwrap_or(0)).min(WAIT_MAX);
        let is_anything_new =
            || topics.iter().any(|(topic, wanted)| wanted.iter().any(|wanted| wanted.is_new(node, topic)));
        // The end of the wait is an answer too: nothing new.
        let _ = time::timeout(wait, node.log.until(is_anything_new)).await;
    }
    to.i32(0);
    if version >= 7 {
        to.i16(ErrorCode::None);
        to.i32(0); // no session: each fetch says all it wants
    }
    let mut taken = 0;
    to.list(topics, |to, (topic, wanted)| {
        to.string(&topic);
        to.list(wanted, |to, wanted| {
            let bytes_max = wanted.bytes_max.min(bytes_max.saturating_sub(taken));
            let found = wanted.find(node, &topic, bytes_max, taken == 0);
            taken += found.batches.iter().map(Bytes::len).sum::<usize>();
            found.write(version, wanted.partition, to);
        });
    });
    Ok(())
}

fn wanted(version: i16, request: &mut Reader) -> Result<Wanted, Malformed> {
    let partition = request.i32()?;
    if version >= 9 {
        let _leader_epoch = request.i32()?;
    }
    let offset = request.i64()?;
    if version >= 5 {
        let _start_of_follower = request.i64()?;
    }
    Ok(Wanted { partition, offset, bytes_max: bytes(request.i32()?) })
}

/// What is negative is nothing.
fn bytes(asked: i32) -> usize {
    usize::try_from(asked).unwrap_or(0)
}

struct Found {
    error: ErrorCode,
    start: i64,
    end: i64,
    batches: Vec<Bytes>,
}

impl Wanted {
    /// Whether there is something to say: a record, or that there is no such partition.
    fn is_new(&self, node: &Node, topic: &str) -> bool {
        node.log.with(topic, self.partition, |log| log.end() > self.offset).unwrap_or(true)
    }

    fn find(&self, node: &Node, topic: &str, bytes_max: usize, at_least_one: bool) -> Found {
        let found = node.log.with(topic, self.partition, |log| Found {
            error: ErrorCode::None,
            start: log.start(),
            end: log.end(),
            batches: log.read(self.offset, bytes_max, at_least_one),
        });
        found.unwrap_or_else(|error| Found { error, start: NONE, end: NONE, batches: Vec::new() })
    }
}

impl Found {
    fn write(&self, version: i16, partition: i32, to: &mut Writer) {
        to.i32(partition);
        to.i16(self.error);
        to.i64(self.end);
        to.i64(self.end); // of what is committed
        if version >= 5 {
            to.i64(self.start);
        }
        to.null_list(); // aborted transactions
        if version >= 11 {
            to.i32(-1); // no better replica
        }
        to.join(self.batches.iter().map(|batch| &batch[..]));
    }
}

pub(super) fn list_offsets(node: &Node, version: i16, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let _replica = request.i32()?;
    if version >= 2 {
        let _isolation = request.i8()?;
    }
    let topics = request.list(|request| {
        let asked = |request: &mut Reader| {
            let partition = request.i32()?;
            if version >= 4 {
                let _leader_epoch = request.i32()?;
            }
            Ok((partition, request.i64()?))
        };
        Ok((request.string()?, request.list(asked)?))
    })?;
    request.end()?;
    if version >= 2 {
        to.i32(0);
    }
    to.list(topics, |to, (topic, asked)| {
        to.string(&topic);
        to.list(asked, |to, (partition, time_ms)| {
            let found = node.log.with(&topic, partition, |log| match time_ms {
                EARLIEST => (log.start(), NONE),
                LATEST => (log.end(), NONE),
                time_ms => log.offset_at(time_ms).unwrap_or((NONE, NONE)),
            });
            let (offset, time_ms) = found.unwrap_or((NONE, NONE));
            to.i32(partition);
            to.i16(found.err().unwrap_or(ErrorCode::None));
            to.i64(time_ms);
            to.i64(offset);
            if version >= 4 {
                to.i32(0);
            }
        });
    });
    Ok(())
}
