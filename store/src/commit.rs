//! Group commit: one thread per signal turns waiting requests into one frame, one write and one fsync, then answers them all.
//!
//! Nothing waits when nothing else is coming: a group is what arrived during the previous fsync, plus, for a few
//! milliseconds, requests that are just being decoded. Small groups in a row keep a pace.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use model::Signal;
use tokio::sync::oneshot;

use crate::faults::Step;
use crate::frame::{self, SEGMENT_HEADER_BYTES};
use crate::manifest::{Segment, Tally};
use crate::packed::Rows;
use crate::queue::Place;
use crate::repeats::{Known, Seen};
use crate::segment::Active;
use crate::shared::{Shared, Synced};
use crate::{Digest, Kept, StoreError, caught, layout, payload};

/// A segment is also sealed when its rows take this many times its size in memory: usually it is three times, and a client
/// that repeats a large resource must not make it a thousand.
const UNPACKED_TIMES_MAX: u64 = 6;
/// A group of this many bytes is worth an fsync.
const SMALL_GROUP_BYTES: usize = 256 << 10;
/// After a segment could not be sealed, the next attempt waits.
const SEAL_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum Message {
    Append(Request),
    Close,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) rows: Vec<Rows>,
    /// How many that gathered before they came here.
    pub(crate) gathered: Option<usize>,
    pub(crate) digest: Option<Digest>,
    pub(crate) place: Place,
    pub(crate) answer: oneshot::Sender<Result<Kept, StoreError>>,
}

pub(crate) struct Committer {
    shared: Arc<Shared>,
    signal: Signal,
    inbox: Receiver<Message>,
    active: Option<Active>,
    /// A segment that failed, until the manifest says that it is sealed.
    retired: Option<Synced>,
    seal_not_before: Option<Instant>,
    /// Requests that must not be kept twice.
    known: Option<Known>,
    closing: bool,
}

impl Committer {
    /// Creates the first segment, so that opening fails rather than the first request.
    pub(crate) fn new(shared: Arc<Shared>, signal: Signal, inbox: Receiver<Message>) -> Result<Committer, StoreError> {
        let (active, retired, seal_not_before) = (None, None, None);
        let known = shared.args.repeats.map(|repeats| Known::open(&shared, signal, repeats));
        let mut committer =
            Committer { shared, signal, inbox, active, retired, seal_not_before, known, closing: false };
        committer.count_known();
        committer.rotate()?;
        Ok(committer)
    }

    /// Until closed, or until nobody can append any more. A panic is said to everybody: without this thread each request of
    /// its signal would be refused, and nothing would say why.
    pub(crate) fn run(mut self) {
        if let Err(panic) = caught(|| self.work()) {
            self.shared.catalog.fail(format!("could not go on writing {}: {panic}", self.signal.name()));
        }
    }

    fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        let committing = &shared.counters(self.signal).committing;
        loop {
            let first = match self.wait() {
                Wake::Request(first) => Some(first),
                Wake::Seal => None,
                Wake::End => return,
            };
            committing.during(|| {
                if let Some(first) = first {
                    let group = self.gather(first);
                    self.commit(group);
                }
                self.seal_if_due();
            });
        }
    }

    fn wait(&mut self) -> Wake {
        let received = match self.seal_due() {
            _ if self.closing => self.inbox.try_recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => self.inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.inbox.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(Message::Append(request)) => Wake::Request(request),
            Ok(Message::Close) => {
                self.closing = true;
                self.wait()
            }
            Err(RecvTimeoutError::Timeout) => Wake::Seal,
            Err(RecvTimeoutError::Disconnected) => Wake::End,
        }
    }

    /// What shares the next fsync.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        let deadline = Instant::now() + self.shared.args.commit_delay_max();
        let pace = &self.shared.counters(self.signal).pace;
        let paced_until = pace.next(Instant::now());
        let (mut bytes, mut is_small) = (first.bytes(), first.is_small());
        let mut group = vec![first];
        while bytes < self.shared.args.commit_bytes_max && !self.closing {
            let is_coming = self.shared.counters(self.signal).requests_decoding.load(Relaxed) > 0;
            let until = [Some(deadline).filter(|_| is_coming), paced_until.filter(|_| is_small)];
            let received = match (self.inbox.try_recv(), until.into_iter().flatten().max()) {
                (Err(TryRecvError::Empty), Some(until)) => {
                    self.inbox.recv_timeout(until.saturating_duration_since(Instant::now()))
                }
                (other, _) => other.map_err(|_| RecvTimeoutError::Timeout),
            };
            match received {
                Ok(Message::Append(request)) => {
                    bytes += request.bytes();
                    is_small &= request.is_small() && bytes < SMALL_GROUP_BYTES;
                    group.push(request);
                }
                Ok(Message::Close) => self.closing = true,
                Err(_) => break,
            }
        }
        if is_small {
            pace.begin(Instant::now());
        }
        group
    }

    fn commit(&mut self, mut group: Vec<Request>) {
        while !group.is_empty() {
            let twins = self.part(&mut group);
            if !group.is_empty() {
                self.commit_new(group);
            }
            group = twins;
        }
        self.count_known();
    }

    /// Answers those that are durable already and leaves each of the others once. Twins of these wait until it is durable, or
    /// has failed and they may try.
    fn part(&mut self, group: &mut Vec<Request>) -> Vec<Request> {
        let Some(known) = &mut self.known else { return Vec::new() };
        known.forget(layout::now_ms());
        let all = std::mem::take(group).into_iter();
        let (repeated, new): (Vec<_>, Vec<_>) =
            all.partition(|request| request.digest.is_some_and(|digest| known.has(digest)));
        let mut here = HashSet::new();
        let (first, twins) =
            new.into_iter().partition(|request| request.digest.is_none_or(|digest| here.insert(digest)));
        *group = first;
        tell(repeated, &Ok(Kept::Before));
        twins
    }

    fn commit_new(&mut self, group: Vec<Request>) {
        match self.write(&group) {
            // One request that cannot be encoded must not fail its neighbours.
            Err(StoreError::Rows(_)) if group.len() > 1 => group.into_iter().for_each(|one| self.commit_new(vec![one])),
            result => self.answer(group, result),
        }
    }

    fn write(&mut self, group: &[Request]) -> Result<(), StoreError> {
        self.shared.catalog.check()?;
        if self.active.is_none() {
            self.rotate()?;
        }
        let active = self.active.as_mut().ok_or(StoreError::Closed)?;
        let mut frame = frame::start();
        let at_ms = layout::now_ms();
        let digests = group.iter().filter_map(|request| request.digest.filter(|_| self.known.is_some()));
        let seen: Vec<Seen> = digests.map(|digest| Seen { digest, at_ms }).collect();
        payload::encode(group.iter().flat_map(|request| &request.rows), &seen, &mut frame)
            .map_err(|error| StoreError::Rows(error.to_string()))?;
        let frame = frame::finish(frame, active.salt)
            .ok_or_else(|| StoreError::Rows("more than 1 GiB in one request".to_owned()))?;
        let rows = group.iter().flat_map(|request| &request.rows).map(|rows| rows.rows as u64).sum();
        if let Err(error) = active.append(&frame, rows, &self.shared.faults) {
            let attempt = format!("append to {}", layout::segment(self.signal, active.number));
            let error = StoreError::write(attempt, error);
            self.shared.note_failure(&error);
            // What did not fit is cut off, and the segment goes on. Any other failure leaves unknown what is on the disk.
            if !(error.is_disk_full() && active.intact && active.cut().is_ok()) {
                self.retire();
            }
            return Err(error);
        }
        active.unpacked_bytes +=
            group.iter().flat_map(|request| &request.rows).map(|rows| rows.unpacked_bytes as u64).sum::<u64>();
        self.shared.synced(self.signal).send_replace(Synced::of(active));
        self.known.iter_mut().for_each(|known| known.extend(seen.iter().copied()));
        self.shared.log_bytes.fetch_add(frame.len() as u64, Relaxed);
        self.shared.counters(self.signal).bytes.fetch_add(frame.len() as u64, Relaxed);
        Ok(())
    }

    fn answer(&self, group: Vec<Request>, result: Result<(), StoreError>) {
        if result.is_ok() {
            let counters = self.shared.counters(self.signal);
            let rows: usize = group.iter().flat_map(|request| &request.rows).map(|rows| rows.rows).sum();
            counters.commits.fetch_add(1, Relaxed);
            counters
                .requests
                .fetch_add(group.iter().map(|request| request.gathered.unwrap_or(1) as u64).sum(), Relaxed);
            counters.rows.fetch_add(rows as u64, Relaxed);
        }
        // The rows are durable; a planned failure here only stands for dying before anybody is told.
        let _ = self.shared.faults.at(Step::Answer);
        tell(group, &result.map(|()| Kept::Now));
    }

    fn count_known(&self) {
        let known = self.known.as_ref().map_or(0, Known::len);
        self.shared.counters(self.signal).requests_known.store(known, Relaxed);
    }

    fn seal_due(&self) -> Option<Instant> {
        let due = self.active.as_ref()?.first? + self.shared.args.segment_age_max();
        Some(self.seal_not_before.map_or(due, |later| later.max(due)))
    }

    fn seal_if_due(&mut self) {
        let Some(active) = &self.active else { return };
        let bytes_max = self.shared.args.segment_bytes_max;
        let full = active.bytes >= bytes_max || active.unpacked_bytes >= bytes_max.saturating_mul(UNPACKED_TIMES_MAX);
        let full = full && active.first.is_some();
        let waits = self.seal_not_before.is_some_and(|later| Instant::now() < later);
        let aged = self.seal_due().is_some_and(|due| due <= Instant::now());
        if !(full || aged) || waits {
            return;
        }
        self.seal_not_before = None;
        if let Err(error) = self.rotate() {
            // The old segment goes on.
            self.shared.note_failure(&error);
            self.seal_not_before = Some(Instant::now() + SEAL_RETRY);
        }
    }

    /// A new segment, named by the manifest before anything is in it; the old one is sealed by the same change.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let Shared { layout, catalog, faults, next_segment, .. } = &*self.shared;
        if let Some(known) = self.known.as_ref().filter(|_| self.active.is_some() || self.retired.is_some()) {
            // What is sealed may leave with its digests.
            known
                .save(layout, faults, self.signal)
                .map_err(|error| StoreError::write(format!("replace {}", layout::repeats(self.signal)), error))?;
        }
        let (signal, number) = (self.signal, next_segment.fetch_add(1, Relaxed));
        let next = Active::create(layout, faults, signal, number)
            .map_err(|error| StoreError::write(format!("create {}", layout::segment(signal, number)), error))?;
        let sealed = self.active.as_ref().map(Synced::of);
        let retired = self.retired;
        let changed = catalog.change(|manifest| {
            let since_ms = layout::now_ms();
            for Synced { number, bytes, tally } in sealed.into_iter().chain(retired) {
                if bytes == SEGMENT_HEADER_BYTES as u64 {
                    manifest.replace_segment(signal, number, bytes, since_ms);
                }
                for segment in &mut manifest.segments {
                    if (segment.signal, segment.number) == (signal, number) {
                        segment.sealed_bytes = Some(bytes);
                        segment.tally = tally;
                    }
                }
            }
            manifest.next_segment = manifest.next_segment.max(number + 1);
            let tally = Tally::default();
            manifest.segments.push(Segment { signal, number, sealed_bytes: None, tally });
        });
        if let Err(error) = changed {
            if !matches!(error, StoreError::Failed(_)) {
                // Left behind, it would be removed as an orphan at the next open.
                let _ = next.remove(layout, signal);
            }
            return Err(error);
        }
        self.shared.log_bytes.fetch_add(next.bytes, Relaxed);
        self.retired = None;
        // After the manifest: whoever wakes finds the old segment sealed.
        self.shared.synced(signal).send_replace(Synced::of(&next));
        self.active = Some(next);
        self.shared.sealed.notify_one();
        Ok(())
    }

    /// Gives up the segment whose write failed; its durable part stays.
    fn retire(&mut self) {
        let Some(old) = self.active.take() else { return };
        if let Err(error) = old.cut() {
            self.shared.note_error(&error);
        }
        self.retired = Some(Synced::of(&old));
        if let Err(error) = self.rotate() {
            self.shared.note_failure(&error);
        }
    }
}

fn tell(group: Vec<Request>, result: &Result<Kept, StoreError>) {
    for Request { rows, place, answer, .. } in group {
        drop((rows, place));
        // The client may have gone; its rows stay.
        let _ = answer.send(result.clone());
    }
}

enum Wake {
    Request(Request),
    Seal,
    End,
}

impl Request {
    /// Whether it is worth waiting for others.
    fn is_small(&self) -> bool {
        self.gathered.is_none() && self.bytes() < SMALL_GROUP_BYTES
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|rows| rows.bytes).sum()
    }
}
