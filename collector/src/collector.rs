//! Receive, append, answer: the one path of every request, whatever protocol brought it. Small ones take it `together`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use model::{Converted, Rejected, Signal};
use store::{Filled, Full, Kept, StoreError, Writer};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use crate::access::Access;
use crate::args::Limits;
use crate::compression::Compression;
use crate::gate::{Gate, Lease};
use crate::kafka_in;
use crate::media::Encoding;
use crate::notice::Notices;
use crate::port::PortCounts;
use crate::processors::{Processors, TooLarge};
use crate::readers::Reports;
use crate::refusal::Refusal;
use crate::together::Line;
use crate::watch::{AtWork, Counts};

/// Plain bodies up to this size are decoded where they are. At under a microsecond a record that is some 30 us, less than two
/// changes of thread cost under load, and within what an async thread may be held.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// What every handler needs; one per process.
pub(crate) struct Collector {
    pub writer: Writer,
    pub access: Access,
    pub gate: Arc<Gate>,
    pub counts: Arc<Counts>,
    /// Of OTLP/gRPC and of OTLP/HTTP.
    pub ports: [Arc<PortCounts>; 2],
    /// Bodies being decoded off the async threads.
    pub at_work: Arc<AtWork>,
    /// Told to stop.
    pub stopping: AtomicBool,
    pub processors: Arc<Processors>,
    /// None when nothing is read from Kafka.
    pub kafka_in: Option<Arc<kafka_in::Account>>,
    /// What those say who read the log behind it.
    pub readers: Reports,
    pub limits: Limits,
    /// Small requests of each signal; as many groups of them may be on their way as there are decoders.
    pub lines: [Line; Signal::ALL.len()],
    /// As `limits` say, who would ask the system each time.
    pub decoders_max: usize,
    notices: Notices,
    decoders: Arc<Semaphore>,
}

/// A request read whole and not yet looked into.
pub(crate) struct Received {
    pub signal: Signal,
    pub encoding: Encoding,
    pub compression: Compression,
    pub body: Bytes,
    /// The room `body` takes.
    pub lease: Lease,
}

/// Whether a request has waited for others to share an fsync.
#[derive(Clone, Copy)]
pub(crate) enum Waited {
    Yes,
    No,
}

/// Rows ready to be written, or why the store cannot have them; and what was left out of them.
type Decoded = (Result<Filled, StoreError>, Rejected);

impl Collector {
    pub(crate) fn new(
        writer: Writer,
        access: Access,
        processors: Processors,
        readers: Reports,
        kafka_in: Option<Arc<kafka_in::Account>>,
        limits: Limits,
    ) -> Arc<Collector> {
        let decoders_max = limits.decoders_max();
        Arc::new(Collector {
            writer,
            access,
            gate: Gate::new(&limits),
            counts: Arc::default(),
            ports: [PortCounts::grpc(&limits), PortCounts::http(&limits)].map(Arc::new),
            at_work: Arc::default(),
            stopping: AtomicBool::new(false),
            processors: Arc::new(processors),
            readers,
            kafka_in,
            lines: Default::default(),
            notices: Notices::default(),
            decoders_max,
            decoders: Arc::new(Semaphore::new(decoders_max)),
            limits,
        })
    }

    /// In columns of its own.
    pub(crate) async fn keep_alone(&self, received: Received, waited: Waited) -> Result<Rejected, Refusal> {
        let signal = received.signal;
        let (decoded, rejected) = self.decode(received).await?;
        let filled = decoded.map_err(|error| self.not_stored(signal, &error))?;
        let filled = match waited {
            Waited::Yes => filled.gathered(1),
            Waited::No => filled,
        };
        let items = filled.num_rows() as u64;
        match filled.append().await.map_err(|error| self.not_stored(signal, &error))? {
            Kept::Now => self.counts.accepted(signal, items, rejected.count),
            // The answer to the first one got lost; this one says the same.
            Kept::Before => self.counts.repeated(signal),
        }
        Ok(rejected)
    }

    /// Counts and, at a bounded rate, logs a request that was not kept.
    pub(crate) fn refused(&self, signal: Signal, refusal: &Refusal) {
        self.counts.refused(signal, refusal);
        let (signal, reason) = (signal.name(), refusal.status().message().to_owned());
        let notice = match refusal {
            Refusal::Busy { .. } | Refusal::Limited { .. } => &self.notices.busy,
            Refusal::Stranger { .. } => &self.notices.stranger,
            _ => &self.notices.invalid,
        };
        if let Some(unsaid) = notice.due() {
            warn!(otlp.signal = signal, refused.unsaid = unsaid, "refused a {signal} request: {reason}");
        }
    }

    async fn decode(&self, received: Received) -> Result<Decoded, Refusal> {
        let (writer, processors) = (self.writer.clone(), Arc::clone(&self.processors));
        let bytes_max = self.limits.otlp_request_bytes_max;
        let bytes = if received.compression == Compression::Identity { received.body.len() } else { usize::MAX };
        let decoded = self.decoding(bytes, move || decode(&writer, &processors, received, bytes_max)).await;
        decoded.unwrap_or_else(|| {
            if let Some(unsaid) = self.notices.defect.due() {
                error!(refused.unsaid = unsaid, "decoding a request panicked, the request was refused");
            }
            Err(Refusal::Internal)
        })
    }

    /// Of plain bodies with these many bytes: many are decoded off the async threads, a bounded number at once; those that wait are
    /// bounded by the gate. None: it panicked.
    pub(crate) async fn decoding<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if bytes <= INLINE_BYTES_MAX {
            return catch_unwind(AssertUnwindSafe(work)).ok();
        }
        // The permit goes along: a client that leaves stops waiting, not the work that has begun. The semaphore is never closed,
        // so there always is one.
        let permit = Arc::clone(&self.decoders).acquire_owned().await;
        let at_work = Arc::clone(&self.at_work);
        let work = move || {
            let _held = (permit, at_work.begin());
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    pub(crate) fn not_stored(&self, signal: Signal, error: &StoreError) -> Refusal {
        if let Some(unsaid) = self.notices.store.due() {
            let signal = signal.name();
            error!(
                otlp.signal = signal,
                refused.unsaid = unsaid,
                error = error as &dyn std::error::Error,
                "could not store a {signal} request"
            );
        }
        match error {
            StoreError::Rows(_) => Refusal::Internal,
            // Nothing is promised about the rows, so the client has to send them again.
            other => Refusal::Busy { reason: other.to_string(), retry: self.limits.retry_delay() },
        }
    }
}

/// The place comes before the work: a full store should not cost a decode.
fn decode(writer: &Writer, processors: &Processors, received: Received, bytes_max: usize) -> Result<Decoded, Refusal> {
    let Received { signal, encoding, compression, body, mut lease } = received;
    let body = compression.inflate(body, bytes_max, &mut lease)?;
    let place = writer.reserve(signal, body.len()).map_err(full)?;
    let converted = match encoding {
        Encoding::Protobuf => model::decode_protobuf(signal, &body),
        Encoding::Json => model::decode_json(signal, &body),
    };
    let Converted { batches, rejected } = converted.map_err(|error| Refusal::Malformed(error.to_string()))?;
    let batches = processors.apply(batches).map_err(overgrown)?;
    let filled = place.fill(batches).map(|filled| match processors.digest(&body) {
        Some(digest) => filled.once(digest),
        None => filled,
    });
    Ok((filled, rejected))
}

fn overgrown(_: TooLarge) -> Refusal {
    let reason = "the rules of [processors] make the request grow beyond the limit of 512 MiB; send smaller batches";
    Refusal::Malformed(reason.to_owned())
}

pub(crate) fn full(full: Full) -> Refusal {
    Refusal::Busy { reason: full.reason.to_string(), retry: full.retry_after }
}
