//! OTLP to Arrow: the envelopes. Records are in `spans`, `logs` and `metrics`; what they share of resource and scope in `origin`.
//!
//! Fields may come in any order, so each message is read more than once: first for what its parts need to know, then for the
//! parts. Skipping a field costs a few nanoseconds; nothing is collected in between.

mod exemplars;
mod logs;
mod metrics;
mod origin;
mod points;
mod spans;

use crate::json;
use crate::wire::Message;
use crate::{Batch, Signal};
use origin::Origin;

/// A body beyond this is refused. Twice the largest request a receiver lets in by default; text takes at most six times
/// its bytes on the wire (a control character in nested JSON), and 32-bit offsets end at 2 GiB.
pub const BODY_BYTES_MAX: usize = 128 << 20;
/// What rows, list items and copies of resource and scope may add to one request's own bytes. A request can be built to
/// repeat a large resource a million times; records beyond this are rejected.
pub const EXPANSION_BYTES_MAX: usize = 512 << 20;
/// What a row costs in columns of fixed width.
const ROW_BYTES: usize = 256;
/// What an event, link, exemplar or quantile costs in columns of fixed width.
const ITEM_BYTES: usize = 64;

/// What a request became.
#[derive(Clone, Debug, Default)]
pub struct Converted {
    /// At most one a table, none of them empty.
    pub batches: Vec<Batch>,
    pub rejected: Rejected,
}

/// What several requests became.
#[derive(Clone, Debug, Default)]
pub struct ConvertedTogether {
    /// At most one a table, none of them empty; the rows of a request before those of the next.
    pub batches: Vec<Batch>,
    /// One a request.
    pub rejected: Vec<Rejected>,
}

/// Records left out because they make no sense. Count 0 and an empty message when there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Spans, log records or data points.
    pub count: u64,
    /// A sentence with the reason of the first.
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
    let ConvertedTogether { batches, rejected } = decode_protobuf_together(signal, [body])?;
    let rejected = rejected.into_iter().next().unwrap_or_default();
    Ok(Converted { batches, rejected })
}

/// Requests of one signal, as if one had sent all of their resources: columns of its own cost a small request ten times what its
/// records do. An error says that they are not converted together, because one of them is malformed or all are too large; each
/// can still be converted alone.
pub fn decode_protobuf_together<'a>(
    signal: Signal,
    bodies: impl IntoIterator<Item = &'a [u8]>,
) -> Result<ConvertedTogether, DecodeError> {
    let bodies = bodies.into_iter();
    match signal {
        Signal::Traces => read_all::<spans::Spans>(bodies),
        Signal::Logs => read_all::<logs::Logs>(bodies),
        Signal::Metrics => read_all::<metrics::Metrics>(bodies),
    }
}

/// The same request as OTLP/JSON: its fields are rewritten as wire bytes, which then take the same way.
pub fn decode_json(signal: Signal, body: &[u8]) -> Result<Converted, DecodeError> {
    check_size(body)?;
    decode_protobuf(signal, &json::request_to_wire(signal, body)?)
}

fn check_size(body: &[u8]) -> Result<(), DecodeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: body.len(), limit: BODY_BYTES_MAX });
    }
    Ok(())
}

/// The columns a signal fills. Private: a name for what the walk below needs of each of the three.
trait Records: Default {
    /// What is counted when it is rejected.
    const NAME: &str;
    /// One entry of the repeated field of a scope.
    fn push(&mut self, record: Message<'_>, request: &mut Request) -> Result<(), DecodeError>;
    /// Gives `origin` to the rows pushed since the last call.
    fn end_scope(&mut self, origin: &Origin);
    fn finish(self) -> Vec<Batch>;
}

/// What one request may still take, and what was refused of it.
struct Request {
    bytes_left: usize,
    /// Bytes that the scope being read adds to each row.
    origin_bytes: usize,
    rejected: u64,
    reason: &'static str,
}

impl Request {
    fn reject(&mut self, reason: &'static str) {
        if self.rejected == 0 {
            self.reason = reason;
        }
        self.rejected += 1;
    }

    /// Takes the bytes of a row with this many list items, or rejects it.
    fn admit(&mut self, items: usize, more_bytes: usize) -> bool {
        let bytes = ROW_BYTES + self.origin_bytes + items * ITEM_BYTES + more_bytes;
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            self.reject("the request expands beyond the limit of 512 MiB");
            return false;
        };
        self.bytes_left = left;
        true
    }
}

fn read_all<'a, R: Records>(bodies: impl Iterator<Item = &'a [u8]>) -> Result<ConvertedTogether, DecodeError> {
    let (mut records, mut rejected, mut expansion) = (R::default(), Vec::new(), 0);
    for body in bodies {
        check_size(body)?;
        if expansion > EXPANSION_BYTES_MAX {
            return Err(DecodeError::TooLarge { bytes: expansion, limit: EXPANSION_BYTES_MAX });
        }
        let request = read(body, &mut records)?;
        expansion += EXPANSION_BYTES_MAX - request.bytes_left;
        rejected.push(Rejected { count: request.rejected, message: sentence::<R>(&request) });
    }
    Ok(ConvertedTogether { batches: records.finish(), rejected })
}

fn read<R: Records>(body: &[u8], records: &mut R) -> Result<Request, DecodeError> {
    let mut request = Request { bytes_left: EXPANSION_BYTES_MAX, origin_bytes: 0, rejected: 0, reason: "" };
    let mut message = Message::new(body);
    while let Some(field) = message.next()? {
        if field.number == 1 {
            read_resource(field.message()?, records, &mut request)?;
        }
    }
    Ok(request)
}

fn sentence<R: Records>(request: &Request) -> String {
    let (name, reason) = (R::NAME, request.reason);
    match request.rejected {
        0 => String::new(),
        1 => format!("1 {name} was rejected: {reason}"),
        count => format!("{count} {name}s were rejected, the first because {reason}"),
    }
}

/// `ResourceSpans`, `ResourceLogs` and `ResourceMetrics` have the same fields.
fn read_resource<R: Records>(message: Message<'_>, records: &mut R, request: &mut Request) -> Result<(), DecodeError> {
    let (mut resource, mut schema_url) = (Message::new(&[]), &[][..]);
    let mut fields = message;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => resource = field.message()?,
            3 => schema_url = field.bytes()?,
            _ => {}
        }
    }
    let mut origin = Origin::of_resource(resource, schema_url)?;
    let mut fields = message;
    while let Some(field) = fields.next()? {
        if field.number == 2 {
            read_scope(field.message()?, &mut origin, records, request)?;
        }
    }
    Ok(())
}

/// `ScopeSpans`, `ScopeLogs` and `ScopeMetrics` have the same fields.
fn read_scope<R: Records>(
    message: Message<'_>,
    origin: &mut Origin,
    records: &mut R,
    request: &mut Request,
) -> Result<(), DecodeError> {
    let (mut scope, mut schema_url) = (Message::new(&[]), &[][..]);
    let mut fields = message;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => scope = field.message()?,
            3 => schema_url = field.bytes()?,
            _ => {}
        }
    }
    origin.enter(scope, schema_url)?;
    request.origin_bytes = origin.bytes();
    let mut fields = message;
    while let Some(field) = fields.next()? {
        if field.number == 2 {
            records.push(field.message()?, request)?;
        }
    }
    records.end_scope(origin);
    Ok(())
}

/// `id` as an array when it has the right length and is not all zero.
#[inline]
fn valid_id<const BYTES: usize>(id: &[u8]) -> Option<&[u8; BYTES]> {
    let id: &[u8; BYTES] = id.try_into().ok()?;
    (*id != [0; BYTES]).then_some(id)
}
