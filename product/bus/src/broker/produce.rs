//! What producers ask for. Transactions are refused: nothing here uses them.

use bytes::Bytes;

use super::{
    Node,
    error::ErrorCode,
    wire::{Malformed, Reader, Writer},
};

struct Sent {
    partition: i32,
    records: Option<Bytes>,
}

/// False when no answer is wanted.
pub(super) fn produce(node: &Node, version: i16, request: &mut Reader, to: &mut Writer) -> Result<bool, Malformed> {
    let transaction = request.maybe_string()?;
    let acks = request.i16()?;
    let _timeout_ms = request.i32()?; // nothing here takes time
    let topics = request.list(|request| {
        let sent = |request: &mut Reader| Ok(Sent { partition: request.i32()?, records: request.maybe_bytes()? });
        Ok((request.string()?, request.list(sent)?))
    })?;
    request.end()?;
    let refused = match (&transaction, acks) {
        (Some(_), _) => Err(ErrorCode::InvalidTxnState),
        (None, -1..=1) => Ok(()),
        (None, _) => Err(ErrorCode::InvalidRequiredAcks),
    };
    to.list(topics, |to, (topic, sent)| {
        to.string(&topic);
        to.list(sent, |to, sent| {
            let records = sent.records.unwrap_or_default();
            let appended = refused.and_then(|()| node.log.append(&topic, sent.partition, &records));
            to.i32(sent.partition);
            to.i16(appended.err().unwrap_or(ErrorCode::None));
            to.i64(appended.unwrap_or(-1));
            to.i64(-1); // the time of each record is its producer's
            if version >= 5 {
                to.i64(node.log.with(&topic, sent.partition, |log| log.start()).unwrap_or(-1));
            }
            if version >= 8 {
                to.list([], Writer::i32); // errors of single records
                to.null_string();
            }
        });
    });
    to.i32(0);
    Ok(acks != 0)
}

pub(super) fn init_producer_id(node: &Node, request: &mut Reader, to: &mut Writer) -> Result<(), Malformed> {
    let transaction = request.maybe_string()?;
    let _timeout_ms = request.i32()?;
    request.end()?;
    let given = match transaction {
        Some(_) => Err(ErrorCode::InvalidTxnState),
        None => Ok((node.log.new_producer(), 0_i16)),
    };
    let (id, epoch) = given.unwrap_or((-1, -1));
    to.i32(0);
    to.i16(given.err().unwrap_or(ErrorCode::None));
    to.i64(id);
    to.i16(epoch);
    Ok(())
}
