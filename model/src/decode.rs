//! OTLP to Arrow.

use crate::{Batch, Signal};

/// What a request became.
#[derive(Clone, Debug, Default)]
pub struct Converted {
    /// At most one a table, none of them empty.
    pub batches: Vec<Batch>,
    pub rejected: Rejected,
}

/// Records left out because they make no sense. Count 0 and an empty message when there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    pub count: u64,
    pub message: String,
}

/// The request is malformed as a whole: nothing of it was converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("malformed protobuf at byte {offset}: {what}")]
    Protobuf { offset: usize, what: String },
    #[error("malformed JSON at {path}: {what}")]
    Json { path: String, what: String },
    #[error("a request of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

/// `body` is an `ExportTraceServiceRequest`, `ExportLogsServiceRequest` or `ExportMetricsServiceRequest`.
pub fn decode_protobuf(signal: Signal, body: &[u8]) -> Result<Converted, DecodeError> {
    let _ = (signal, body);
    todo!()
}

/// The same request as OTLP/JSON.
pub fn decode_json(signal: Signal, body: &[u8]) -> Result<Converted, DecodeError> {
    let _ = (signal, body);
    todo!()
}
