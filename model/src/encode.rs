//! Arrow to OTLP.

use crate::{Batch, Signal};

/// One OTLP/JSON export request; records of equal resource and scope share an envelope. Batches of other signals are left out.
pub fn encode_json(signal: Signal, batches: &[Batch]) -> serde_json::Value {
    let _ = (signal, batches);
    todo!()
}

/// The same request as protobuf.
pub fn encode_protobuf(signal: Signal, batches: &[Batch]) -> Vec<u8> {
    let _ = (signal, batches);
    todo!()
}
