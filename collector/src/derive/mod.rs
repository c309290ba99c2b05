//! Metrics made of spans: how many there were and how long they took (`span_metrics`), and who calls whom (`service_graph`).
//!
//! A reader of the log like a sink, behind the writer and in nobody's way. A range of spans is read, counted in series that go on
//! over restarts (`series`, `state`), and at an interval each series is told as a point that is appended to the log like any
//! other (`telling`), so that SQL, sinks and screens see it. Nothing feeds itself: metrics are made of spans and of nothing
//! else, and making them makes no span.

mod args;
mod series;
mod service_graph;
mod span_metrics;
mod state;
mod telling;

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use model::{Converted, Signal};
use prost::Message;
use store::{Cursor, Handover, Portion, Writer};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use args::{Args, Unit};

use crate::sinks::{Account, Pace};
use state::{State, StateFile};

/// Names its place in the log.
pub(crate) const NAME: &str = "derived";

/// A second's worth is worth a write to the disk; in memory rows take a multiple of what they take in the log.
const PORTION: Portion =
    Portion { rows_min: 65_536, wait_max: Duration::from_secs(1), rows_max: 65_536, bytes_max: 4 << 20 };

pub(crate) struct Deriver {
    pub(crate) account: Arc<Account>,
    pub(crate) counts: Arc<Counts>,
    /// None when its place could not be read.
    work: Option<(Cursor, Book)>,
}

/// What was counted, and where points go.
struct Book {
    args: Arc<Args>,
    writer: Writer,
    state: Arc<Mutex<State>>,
    file: StateFile,
    pace: Pace,
    account: Arc<Account>,
    counts: Arc<Counts>,
}

/// What the metrics say of it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) span_series: AtomicU64,
    pub(crate) edge_series: AtomicU64,
    /// Spans and edges that were counted in the series of those that are too many.
    pub(crate) spans_overflowed: AtomicU64,
    pub(crate) edges_overflowed: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) waiting_max: u64,
    pub(crate) expired: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Rounds of points that the store had no room for.
    pub(crate) untold: AtomicU64,
}

impl Deriver {
    /// None when nothing of it is asked for. A place that cannot be read makes it rest, as with a sink.
    pub(crate) async fn open(args: &Args, pace: Pace, writer: &Writer) -> Option<Deriver> {
        if !args.is_on() {
            return None;
        }
        let account = Arc::new(Account::new(NAME, Signal::Traces));
        let waiting_max = args.service_graph_waiting_max as u64;
        let counts = Arc::new(Counts { waiting_max, ..Counts::default() });
        let opened = async {
            let cursor = writer.cursor(NAME, Signal::Traces).await?;
            let folder = cursor.folder().await?;
            Ok::<_, store::StoreError>((cursor, StateFile::new(folder)))
        };
        let work = match opened.await {
            Ok((cursor, file)) => {
                let state = Arc::new(Mutex::new(restored(&file, args)));
                let (args, writer) = (Arc::new(args.clone()), writer.clone());
                let (account, counts) = (Arc::clone(&account), Arc::clone(&counts));
                let book = Book { args, writer, state, file, pace, account, counts };
                book.publish();
                Some((cursor, book))
            }
            Err(error) => {
                account.rests(&error.to_string());
                None
            }
        };
        Some(Deriver { account, counts, work })
    }

    /// Until stopped. What is not counted then waits in the log, what is not told in the state.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some((cursor, book)) = self.work else { return };
        if let Err(panic) = tokio::spawn(work(cursor, book, stop)).await {
            self.account.rests(&format!("a defect of ours: {panic}"));
        }
    }
}

/// A state that cannot be read begins anew, which the start times of its points tell everybody.
fn restored(file: &StateFile, args: &Args) -> State {
    let path = file.path();
    match file.load(args) {
        Ok(Some(state)) => state,
        Ok(None) => State::new(args, now_ms()),
        Err(error) => {
            tracing::error!(
                file.path = %path.display(),
                "metrics of spans begin anew, what was counted of them is lost: {} cannot be read: {error}",
                path.display()
            );
            State::new(args, now_ms())
        }
    }
}

async fn work(mut cursor: Cursor, mut book: Book, stop: CancellationToken) {
    let interval = book.args.interval();
    let mut clock = tokio::time::interval_at(Instant::now() + interval, interval);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = {
            // Goes on over the interval, however short that is.
            let mut next = pin!(cursor.next(&PORTION));
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = clock.tick() => {
                        let told = book.tell().await;
                        book.note(told, &stop).await;
                    }
                    next = &mut next => break next,
                }
            }
        };
        let counted = match next {
            Ok(handover) => book.count(&mut cursor, handover).await,
            Err(error) => Err(error.into()),
        };
        book.note(counted, &stop).await;
    }
}

impl Book {
    /// Waits after a failure.
    async fn note(&mut self, done: anyhow::Result<()>, stop: &CancellationToken) {
        match done {
            Ok(()) => {
                self.pace.succeeded();
                self.account.works();
            }
            Err(error) => {
                let wait = self.pace.failed(None);
                self.account.failed(&format!("{error:#}"), wait);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }

    /// Counted, written down, taken: in this order, so that a range that comes again is known.
    async fn count(&mut self, cursor: &mut Cursor, handover: Handover) -> anyhow::Result<()> {
        let handover = Arc::new(handover);
        let (rows, args) = (Arc::clone(&handover), Arc::clone(&self.args));
        self.change(move |state| state.count(&rows, &args)).await?;
        cursor.taken(&handover).await?;
        self.account.delivered(handover.rows);
        Ok(())
    }

    /// A point a series. One that the store has no room for is not tried again: the next says it all.
    async fn tell(&mut self) -> anyhow::Result<()> {
        let (args, now_ms) = (Arc::clone(&self.args), now_ms());
        let body = self
            .change(move |state| {
                let now_ms = state.settle(&args, now_ms);
                telling::request(&mut state.spans, &mut state.graph, &args, now_ms).encode_to_vec()
            })
            .await?;
        if body.is_empty() {
            return Ok(());
        }
        let place = match self.writer.reserve(Signal::Metrics, body.len()) {
            Ok(place) => place,
            Err(full) => {
                self.counts.untold.fetch_add(1, Relaxed);
                anyhow::bail!("metrics of spans have to wait for the next interval: {full}");
            }
        };
        let filled = tokio::task::spawn_blocking(move || {
            // The same way as what others send.
            let Converted { batches, .. } = model::decode_protobuf(Signal::Metrics, &body)?;
            anyhow::Ok(place.fill(batches)?)
        });
        filled.await.context("making rows of metrics panicked")??.append().await?;
        Ok(())
    }

    /// Changes the state off the async threads; it is durable afterwards. After an error it is changed all the same, and
    /// written with the next change.
    async fn change<T: Send + 'static>(
        &mut self,
        change: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (state, file) = (Arc::clone(&self.state), self.file.clone());
        let changed = tokio::task::spawn_blocking(move || {
            let mut state = lock(&state);
            (change(&mut state), file.save(&state))
        });
        let (result, saved) = match changed.await {
            Ok(changed) => changed,
            Err(error) => match error.try_into_panic() {
                // Whoever runs this says so, and it rests: what the file has is right.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => return Err(ended.into()),
            },
        };
        self.publish();
        saved.with_context(|| format!("could not replace {}", self.file.path().display()))?;
        Ok(result)
    }

    fn publish(&self) {
        let (counts, state) = (&self.counts, lock(&self.state));
        let State { spans, graph, .. } = &*state;
        counts.span_series.store(spans.len() as u64, Relaxed);
        counts.edge_series.store(graph.edges.len() as u64, Relaxed);
        counts.spans_overflowed.store(spans.overflowed, Relaxed);
        counts.edges_overflowed.store(graph.edges.overflowed, Relaxed);
        counts.waiting.store(graph.waiting() as u64, Relaxed);
        counts.expired.store(graph.expired, Relaxed);
        counts.dropped.store(graph.dropped, Relaxed);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
