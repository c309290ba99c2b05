//! The one writer of a folder: takes requests in, starts the commit threads, runs compaction, closes.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{Batch, Signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::commit::{Committer, Message, Request};
use crate::cursor::Cursor;
use crate::faults::Faults;
use crate::maintenance::{self, Round, Worked};
use crate::packed::Rows;
use crate::queue::Place;
use crate::shared::Shared;
use crate::shelf::Shelf;
use crate::{Args, Digest, Full, Kept, Status, StoreError, lock, recovery};

/// How often deletion and merging look for work when no segment is sealed.
const COMPACT_EVERY: Duration = Duration::from_secs(1);
/// Pause after compaction failed: the disk is full, most likely.
const COMPACT_RETRY: Duration = Duration::from_secs(5);

/// The one writer of a folder; holds its lock until closed, or until the last clone is dropped. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    inboxes: [SyncSender<Message>; 3],
    rounds: SyncSender<Round>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Writer {
    /// Takes the lock, repairs what a crash left, starts a commit thread per signal.
    pub async fn open(args: Args) -> Result<Writer, StoreError> {
        Self::open_with(args, Faults::default()).await
    }

    pub(crate) async fn open_with(args: Args, faults: Faults) -> Result<Writer, StoreError> {
        blocking(move || {
            let shared = Arc::new(recovery::open(args, faults)?);
            let mut threads = Vec::new();
            let mut start = |signal| {
                // One place for each request that may be reserved, and one to close: sending never waits.
                let (outbox, inbox) = sync_channel(shared.args.unwritten_requests_max + 1);
                let committer = Committer::new(Arc::clone(&shared), signal, inbox)?;
                let thread = std::thread::Builder::new()
                    .name(format!("commit-{}", signal.name()))
                    .spawn(|| committer.run())
                    .map_err(|error| StoreError::write("start a commit thread", error))?;
                threads.push(thread);
                Ok::<_, StoreError>(outbox)
            };
            let [traces, logs, metrics] = Signal::ALL;
            let inboxes = [start(traces)?, start(logs)?, start(metrics)?];
            let rounds =
                maintenance::start().map_err(|error| StoreError::write("start the thread of compaction", error))?;
            Ok(Writer { shared, inboxes, rounds, threads: Arc::new(Mutex::new(threads)) })
        })
        .await
    }

    /// A place for one request of about `bytes`, or why there is none. Reserve before decoding.
    pub fn reserve(&self, signal: Signal, bytes: usize) -> Result<Reservation, Full> {
        let place = Place::take(&self.shared, signal, bytes)?;
        Ok(Reservation { place, inbox: self.inboxes[signal as usize].clone() })
    }

    /// Until when small requests of `signal` should gather before they are decoded and [`gathered`](Filled::gathered); None after a
    /// pause.
    pub fn paced_until(&self, signal: Signal) -> Option<Instant> {
        self.shared.counters(signal).pace.next(Instant::now())
    }

    /// A few small requests have gathered; the next have to wait.
    pub fn small_group(&self, signal: Signal) {
        self.shared.counters(signal).pace.begin(Instant::now());
    }

    /// Compacts, merges and deletes in the background until stopped or closed. Failures are in the status and tried again.
    /// A second call waits for the first to end.
    pub async fn compact(&self, stop: CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() && !self.shared.closed.load(std::sync::atomic::Ordering::Relaxed) {
            let pause = match self.compact_once(&stop).await {
                Ok(Worked::Yes) => continue,
                Ok(Worked::No) => COMPACT_EVERY,
                Err(error @ StoreError::Failed(_)) => return Err(error),
                Err(error) => {
                    self.shared.note_failure(&error);
                    COMPACT_RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.shared.sealed.notified(), if pause == COMPACT_EVERY => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn compact_once(&self, stop: &CancellationToken) -> Result<Worked, StoreError> {
        // Moved along, so that dropping our future does not let a second round start beside this one.
        let working = Arc::clone(&self.shared.compacting).lock_owned().await;
        let (answer, answered) = oneshot::channel();
        let round = Round { shared: Arc::clone(&self.shared), stop: stop.clone(), _working: working, answer };
        self.rounds.try_send(round).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The place of `sink` in the log of `signal`, as it left it, or at the start of what the log has. From now on until this
    /// process ends the log keeps what the sink has not taken, within `--log-held-bytes-max`: ask before compaction starts.
    /// One cursor a sink and signal. `sink` becomes part of a file name.
    pub async fn cursor(&self, sink: &str, signal: Signal) -> Result<Cursor, StoreError> {
        let (shared, sink) = (Arc::clone(&self.shared), sink.to_owned());
        blocking(move || Cursor::open(shared, &sink, signal)).await
    }

    /// The Parquet files of `signal` for `sink`, who keeps a copy of them elsewhere. From now on until this process ends a file that
    /// is not copied stays, unless the disk gets short: ask before compaction starts. The store remembers one copy of a file, so
    /// there is one such sink.
    pub fn shelf(&self, sink: &str, signal: Signal) -> Shelf {
        Shelf::open(Arc::clone(&self.shared), sink, signal)
    }

    /// Makes durable what was appended, refuses the rest, gives up the lock. A second call does nothing.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.closed.store(true, std::sync::atomic::Ordering::Relaxed);
        let threads = std::mem::take(&mut *lock(&self.threads));
        if threads.is_empty() {
            return Ok(());
        }
        for inbox in &self.inboxes {
            // It has a place for this, and a thread that is gone needs no message.
            let _ = inbox.try_send(Message::Close);
        }
        self.shared.sealed.notify_one();
        blocking(move || {
            for thread in threads {
                // One that panicked has said so in the status.
                let _ = thread.join();
            }
            Ok(())
        })
        .await?;
        let _compacting = self.shared.compacting.lock().await;
        self.shared.unlock();
        Ok(())
    }

    pub fn status(&self) -> Status {
        self.shared.status()
    }
}

/// A place in the queue. Dropping it gives the place back.
#[derive(Debug)]
pub struct Reservation {
    place: Place,
    inbox: SyncSender<Message>,
}

impl Reservation {
    /// Makes `batches` ready to be written. Takes about a tenth of the time decoding them took, and belongs on the same thread.
    pub fn fill(mut self, batches: Vec<Batch>) -> Result<Filled, StoreError> {
        let signal = self.place.signal();
        if let Some(stray) = batches.iter().find(|batch| batch.table().signal() != signal) {
            let sentence = format!("rows of {} in a request of {}", stray.table().name(), signal.name());
            return Err(StoreError::Rows(sentence));
        }
        let some = batches.into_iter().filter(|batch| batch.num_rows() > 0);
        let rows = some.map(Rows::new).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| StoreError::Rows(error.to_string()))?;
        self.place.decoded(rows.iter().map(|rows| rows.bytes).sum());
        Ok(Filled { place: self.place, inbox: self.inbox, rows, gathered: None, digest: None })
    }

    /// [`fill`](Self::fill) and [`append`](Filled::append) in one.
    pub async fn append(self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.fill(batches)?.append().await.map(drop)
    }
}

/// A request ready to be written. Dropping it gives its place back.
#[derive(Debug)]
pub struct Filled {
    place: Place,
    inbox: SyncSender<Message>,
    rows: Vec<Rows>,
    gathered: Option<usize>,
    digest: Option<Digest>,
}

impl Filled {
    /// What the rows were made of: if the same is durable already, within [`crate::Repeats::window`], they are not kept again.
    /// Without effect unless the writer was opened with [`Args::repeats`].
    pub fn once(self, digest: Digest) -> Filled {
        Filled { digest: Some(digest), ..self }
    }

    /// The rows are of that many requests, which have waited for each other and need not wait for more.
    pub fn gathered(self, requests: usize) -> Filled {
        Filled { gathered: Some(requests), ..self }
    }

    pub fn num_rows(&self) -> usize {
        self.rows.iter().map(|rows| rows.rows).sum()
    }

    /// Returns after the fsync that covers the rows. All of them are in one frame: a crash keeps all or none. Dropping the
    /// future does not take the rows back. An `Ok` means durable in either case.
    pub async fn append(self) -> Result<Kept, StoreError> {
        if self.rows.is_empty() {
            return Ok(Kept::Now);
        }
        let (answer, answered) = oneshot::channel();
        let Filled { place, inbox, rows, gathered, digest } = self;
        let request = Request { rows, gathered, digest, place, answer };
        inbox.try_send(Message::Append(request)).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Runs file work where it cannot hold up the executor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed),
        },
    }
}
