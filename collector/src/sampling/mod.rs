//! Tail sampling: which traces the sinks send on, decided when a trace has had time to be whole.
//!
//! It acts on what leaves. The store keeps every trace for as long as it keeps anything: its disk is cheap, and who looks into an
//! incident wants the ones nobody thought of. What costs is what goes elsewhere, so the sinks get spans of sampled traces only,
//! and later; logs and metrics pass as they come, metrics made of spans count all of them.
//!
//! The sampler is a reader of the log like a sink. It reads ahead of its place, because what the place has passed it may not need
//! again: rows of which all is decided and written down (`window`, `policy`, `verdicts`). Sinks follow that place. So a restart
//! loses no trace that waits, for the log has it, and starts its wait anew; and a range that a sink gets again has the same rows.

pub(crate) mod config;
mod policy;
mod verdicts;
mod window;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use model::Signal;
use store::{Cursor, Handover, Portion, Writer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use policy::PolicyCount;
pub(crate) use verdicts::Verdicts;

use crate::sinks::{Account, Pace};
use policy::Policies;
use verdicts::Decisions;
use window::{Limits, Window};

/// Names its place in the log.
pub(crate) const NAME: &str = "tail-sampling";

/// A second's worth is worth a write to the disk; in memory rows take a multiple of what they take in the log.
const PORTION: Portion =
    Portion { rows_min: 65_536, wait_max: Duration::from_secs(1), rows_max: 65_536, bytes_max: 4 << 20 };
/// Rows are read this many times within the wait for a decision, should that be short.
const LOOKS_A_WAIT: u32 = 4;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// TOML file with a table `[tail-sampling]`: which traces the sinks send on, decided when a trace has had time to be whole. A
    /// `[tail-sampling]` in faultline.toml means that file; without either all of them. The store keeps all in any case. Read at the start
    #[arg(long, env = "FAULTLINE_TAIL_SAMPLING", value_name = "FILE")]
    pub tail_sampling: Option<PathBuf>,
}

pub(crate) struct Sampler {
    pub(crate) account: Arc<Account>,
    pub(crate) counts: Arc<Counts>,
    /// None when what it wrote could not be read: it rests, and with it what the sinks would send of traces.
    pub(crate) work: Option<Work>,
}

pub(crate) struct Work {
    account: Arc<Account>,
    counts: Arc<Counts>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) cursor: Cursor,
    book: Arc<Mutex<Book>>,
    pace: Pace,
    portion: Portion,
}

/// What is written, and what is not yet.
struct Book {
    window: Window,
    decisions: Decisions,
    verdicts: Arc<Verdicts>,
}

/// What the metrics say of it.
pub(crate) struct Counts {
    policies: Arc<Policies>,
    pub(crate) traces_waiting: AtomicU64,
    pub(crate) traces_waiting_max: u64,
    pub(crate) spans_waiting: AtomicU64,
    pub(crate) spans_waiting_max: u64,
    pub(crate) kept: AtomicU64,
    pub(crate) left_out: AtomicU64,
    /// Before their time, because too many waited.
    pub(crate) early: AtomicU64,
    pub(crate) late_spans: AtomicU64,
}

impl Counts {
    fn new(policies: Arc<Policies>, limits: Limits) -> Counts {
        Counts {
            policies,
            traces_waiting: AtomicU64::new(0),
            traces_waiting_max: limits.traces_max as u64,
            spans_waiting: AtomicU64::new(0),
            spans_waiting_max: limits.spans_max as u64,
            kept: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            early: AtomicU64::new(0),
            late_spans: AtomicU64::new(0),
        }
    }

    pub(crate) fn policies(&self) -> Vec<PolicyCount> {
        self.policies.counts()
    }
}

impl Sampler {
    /// None when it is not asked for. Policies that make no sense are an error.
    pub(crate) async fn open(args: &Args, pace: Pace, writer: &Writer) -> anyhow::Result<Option<Sampler>> {
        let Some(path) = &args.tail_sampling else { return Ok(None) };
        let config = config::read(path)?;
        let limits = Limits {
            wait: Duration::from_millis(config.decision_wait_ms),
            traces_max: config.traces_max.max(1),
            spans_max: config.spans_max,
            decisions_max: config.decisions_max,
        };
        let account = Arc::new(Account::new(NAME, Signal::Traces));
        let counts = Arc::new(Counts::new(Arc::new(Policies::new(&config)), limits));
        let work = match Work::open(limits, pace, writer, &account, &counts).await {
            Ok(work) => Some(work),
            Err(error) => {
                account.rests(&format!("{error:#}"));
                None
            }
        };
        Ok(Some(Sampler { account, counts, work }))
    }

    /// Until stopped. What is not decided then is read again after the start.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some(work) = self.work else { return };
        if let Err(panic) = tokio::spawn(work.run(stop)).await {
            self.account.rests(&format!("a defect of ours, and the sinks get no traces: {panic}"));
        }
    }
}

impl Work {
    async fn open(
        limits: Limits,
        pace: Pace,
        writer: &Writer,
        account: &Arc<Account>,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<Work> {
        let cursor = writer.cursor(NAME, Signal::Traces).await?;
        let book = Book::open(cursor.folder().await?, limits, Arc::clone(&counts.policies)).await?;
        let portion = Portion { wait_max: PORTION.wait_max.min(limits.wait / LOOKS_A_WAIT), ..PORTION };
        let (account, counts, verdicts) = (Arc::clone(account), Arc::clone(counts), Arc::clone(&book.verdicts));
        let book = Arc::new(Mutex::new(book));
        Ok(Work { account, counts, verdicts, cursor, book, pace, portion })
    }

    async fn run(mut self, stop: CancellationToken) {
        let start = Instant::now();
        let (mut ahead, portion) = (self.cursor.ahead(), self.portion);
        // Segments that nobody read any more a round ago: who had one in hand then has its rows now.
        let mut oldest = 0;
        loop {
            let read = {
                let mut next = pin!(ahead.next(&portion));
                loop {
                    let due = self.book().window.due();
                    let due = async {
                        match due {
                            Some(due) => tokio::time::sleep_until(start + due).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        next = &mut next => break next,
                        () = due => {
                            self.round(None, start, &mut oldest, &stop).await;
                        }
                    }
                }
            };
            match read {
                Ok(handover) => self.round(Some(handover), start, &mut oldest, &stop).await,
                Err(error) => self.failed(&error.into(), &stop).await,
            }
        }
    }

    /// Takes in what was read, decides what is due, and moves on beyond what is settled. Tries until that is written: the sinks
    /// wait for it.
    async fn round(&mut self, mut read: Option<Handover>, start: Instant, oldest: &mut u64, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.settle(read.take(), start, *oldest).await {
                Ok(()) => {
                    self.pace.succeeded();
                    self.account.works();
                    *oldest = self.cursor.oldest_segment().unwrap_or(*oldest);
                    return;
                }
                Err(error) => self.failed(&error, stop).await,
            }
        }
    }

    async fn settle(&mut self, read: Option<Handover>, start: Instant, oldest: u64) -> anyhow::Result<()> {
        let now = start.elapsed();
        self.blocking(move |book| book.take_in(read, now)).await;
        self.publish();
        while let Some(handover) = self.blocking(Book::write).await.context("could not write down what was decided")? {
            self.cursor.taken(&handover).await?;
            self.account.delivered(handover.rows);
            self.book().window.pass();
        }
        self.verdicts.forget(oldest).context("could not remove what was decided about segments that are gone")?;
        self.publish();
        Ok(())
    }

    async fn failed(&mut self, error: &anyhow::Error, stop: &CancellationToken) {
        let wait = self.pace.failed(None);
        self.account.failed(&format!("{error:#}"), wait);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Work of milliseconds and more: not for an async thread.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Book) -> T + Send + 'static) -> T {
        let book = Arc::clone(&self.book);
        match tokio::task::spawn_blocking(move || work(&mut lock(&book))).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                // Whoever runs this says so.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    fn publish(&self) {
        let (counts, book) = (&self.counts, self.book());
        let window = &book.window;
        counts.traces_waiting.store(window.traces_waiting() as u64, Relaxed);
        counts.spans_waiting.store(window.spans_waiting() as u64, Relaxed);
        counts.kept.store(window.tally.kept, Relaxed);
        counts.left_out.store(window.tally.left_out, Relaxed);
        counts.early.store(window.tally.early, Relaxed);
        counts.late_spans.store(window.tally.late_spans, Relaxed);
    }
}

impl Book {
    async fn open(folder: PathBuf, limits: Limits, policies: Arc<Policies>) -> anyhow::Result<Book> {
        let path = folder.display().to_string();
        let open = move || {
            let verdicts = Arc::new(Verdicts::open(&folder)?);
            let (decisions, decided) = Decisions::open(&folder, limits.decisions_max)?;
            Ok::<_, std::io::Error>(Book { window: Window::new(limits, policies, decided), decisions, verdicts })
        };
        let opened = tokio::task::spawn_blocking(open).await.context("reading what was decided panicked")?;
        opened
            .with_context(|| format!("could not read what was decided from {path}; move the folder away to begin anew"))
    }

    fn take_in(&mut self, read: Option<Handover>, now: Duration) {
        if let Some(handover) = read {
            self.window.admit(handover, &self.verdicts, now);
        }
        self.window.decide_due(now);
    }

    /// Writes down all decisions, then the verdicts on the oldest range when it is settled. Once more does no harm.
    fn write(&mut self) -> std::io::Result<Option<Handover>> {
        let Some((handover, settled)) = self.window.settled() else { return Ok(None) };
        let handover = handover.clone();
        self.decisions.add(&self.window.unwritten)?;
        self.window.unwritten.clear();
        self.verdicts.settle(&settled)?;
        Ok(Some(handover))
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
