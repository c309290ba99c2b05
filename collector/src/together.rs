//! Small requests share the making of columns, as all requests share an fsync: both cost more than a few records do. They gather
//! for as long as the log would keep them waiting for others anyway, so a request that is alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::future::join_all;
use model::{ConvertedTogether, Rejected, Signal};
use store::{Filled, Full, StoreError};
use tokio::sync::{Notify, oneshot};

use crate::collector::{Collector, Received, Waited, full};
use crate::compression::Compression;
use crate::media::Encoding;
use crate::refusal::Refusal;

/// A larger body is worth its own columns: 140 spans of 460 bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A compressed body this small is inflated where it arrived, up to what takes an async thread 0.1 ms.
const COMPRESSED_BYTES_MAX: usize = 4 << 10;
const INFLATED_BYTES_MAX: usize = 32 << 10;
/// Bodies of one group: a millisecond of decoding that the first of them waits for.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// Bodies this large together, or this many of them, need not wait for more.
const WORTH_BYTES: usize = 128 << 10;
const WORTH_REQUESTS: usize = 100;

/// Small requests of one signal.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<Waiting>,
    /// So much waits that it need not wait for more.
    is_worth_it: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Bounded by the gate: each has a place there.
    requests: VecDeque<Member>,
    /// Of their bodies.
    bytes: usize,
    /// Somebody is about to take a group.
    is_attended: bool,
    /// Groups on their way.
    groups: usize,
}

struct Member {
    received: Received,
    answer: oneshot::Sender<Result<Rejected, Refusal>>,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it falls to the caller to attend the line.
    fn join(&self, member: Member, groups_max: usize) -> bool {
        let mut waiting = self.waiting();
        waiting.bytes += member.received.body.len();
        waiting.requests.push_back(member);
        if waiting.is_worth_it() {
            self.is_worth_it.notify_one();
        }
        waiting.fall_to(groups_max)
    }

    /// Requests that come until then share the group, unless it is large before.
    async fn gather(&self, until: Option<Instant>) {
        // Requests that have arrived and only wait for a thread come along.
        tokio::task::yield_now().await;
        if let Some(until) = until
            && !self.waiting().is_worth_it()
        {
            // An early end costs an early group, no more.
            let _ = tokio::time::timeout_at(until.into(), self.is_worth_it.notified()).await;
        }
    }
}

impl Waiting {
    fn is_worth_it(&self) -> bool {
        self.bytes >= WORTH_BYTES || self.requests.len() >= WORTH_REQUESTS
    }

    /// Whether it falls to who asks to attend the line.
    fn fall_to(&mut self, groups_max: usize) -> bool {
        let is_due = !self.requests.is_empty() && !self.is_attended && self.groups < groups_max;
        self.is_attended |= is_due;
        is_due
    }

    /// A group, and whether it is small.
    fn take(&mut self) -> (Vec<Member>, bool) {
        let is_small = !self.is_worth_it();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(first) = self.requests.front()
            && (group.is_empty() || bytes + first.received.body.len() <= GROUP_BYTES_MAX)
        {
            bytes += first.received.body.len();
            group.extend(self.requests.pop_front());
        }
        self.bytes -= bytes;
        self.is_attended = false;
        self.groups += 1;
        (group, is_small)
    }
}

/// A group on its way, until dropped: one that panics must not hold up the line.
struct OnItsWay<'a>(&'a Line);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.waiting().groups -= 1;
    }
}

impl Received {
    /// As it was, when there is anything against it.
    fn inflated_if_small(mut self, bytes_max: usize) -> Received {
        let is_small = self.compression != Compression::Identity && self.body.len() <= COMPRESSED_BYTES_MAX;
        if is_small
            && let Ok(body) =
                self.compression.inflate(self.body.clone(), bytes_max.min(INFLATED_BYTES_MAX), &mut self.lease)
        {
            (self.body, self.compression) = (body, Compression::Identity);
        }
        self
    }
}

impl Collector {
    /// Returns once the rows survive a power loss, with what was left out of them.
    pub(crate) async fn keep(self: &Arc<Self>, received: Received) -> Result<Rejected, Refusal> {
        let received = received.inflated_if_small(self.limits.otlp_request_bytes_max);
        if !self.is_for_a_group(&received) {
            return self.keep_alone(received, Waited::No).await;
        }
        let (signal, (answer, answered)) = (received.signal, oneshot::channel());
        if self.lines[signal as usize].join(Member { received, answer }, self.decoders_max) {
            let collector = Arc::clone(self);
            tokio::spawn(async move { collector.attend(signal).await });
        }
        answered.await.unwrap_or(Err(Refusal::Internal))
    }

    /// JSON goes alone, and so does what must be told from others in the log.
    fn is_for_a_group(&self, received: &Received) -> bool {
        received.body.len() <= BODY_BYTES_MAX
            && (received.compression, received.encoding) == (Compression::Identity, Encoding::Protobuf)
            && self.processors.repeats().is_none()
    }

    /// Until somebody else does, or nobody waits.
    async fn attend(&self, signal: Signal) {
        let line = &self.lines[signal as usize];
        loop {
            line.gather(self.writer.paced_until(signal)).await;
            let (group, is_small) = line.waiting().take();
            if is_small {
                self.writer.small_group(signal);
            }
            let on_its_way = OnItsWay(line);
            self.keep_group(signal, group).await;
            drop(on_its_way);
            if !line.waiting().fall_to(self.decoders_max) {
                return;
            }
        }
    }

    async fn keep_group(&self, signal: Signal, group: Vec<Member>) {
        let bodies: Vec<Bytes> = group.iter().map(|member| member.received.body.clone()).collect();
        let together = if bodies.len() > 1 { self.keep_together(signal, bodies).await } else { None };
        let answers = match together {
            Some(Ok(rejected)) => rejected.into_iter().map(Ok).collect(),
            Some(Err(why)) => group.iter().map(|_| Err(self.not_kept(signal, &why))).collect::<Vec<_>>(),
            None => {
                let alone = group.into_iter().map(async |Member { received, answer }| {
                    // Who asked may have gone.
                    let _ = answer.send(self.keep_alone(received, Waited::Yes).await);
                });
                join_all(alone).await;
                return;
            }
        };
        for (Member { received, answer }, kept) in group.into_iter().zip(answers) {
            // Its place is free before its client can come again.
            drop(received);
            let _ = answer.send(kept);
        }
    }

    /// None: each has to be kept alone, because one of them is not like the others.
    async fn keep_together(&self, signal: Signal, bodies: Vec<Bytes>) -> Option<Result<Vec<Rejected>, NotKept>> {
        let (writer, processors) = (self.writer.clone(), Arc::clone(&self.processors));
        let bytes = bodies.iter().map(Bytes::len).sum();
        let decode = move || -> Option<Result<(Filled, Vec<Rejected>), NotKept>> {
            let place = match writer.reserve(signal, bytes) {
                Ok(place) => place,
                Err(full) => return Some(Err(NotKept::Full(full))),
            };
            let bodies = bodies.iter().map(|body| &body[..]);
            let ConvertedTogether { batches, rejected } = model::decode_protobuf_together(signal, bodies).ok()?;
            let filled = place.fill(processors.apply(batches).ok()?);
            Some(filled.map(|filled| (filled.gathered(rejected.len()), rejected)).map_err(NotKept::Failed))
        };
        let (filled, rejected) = match self.decoding(bytes, decode).await.flatten()? {
            Ok(filled) => filled,
            Err(why) => return Some(Err(why)),
        };
        let mut items = filled.num_rows() as u64;
        if let Err(error) = filled.append().await {
            return Some(Err(NotKept::Failed(error)));
        }
        for rejected in &rejected {
            // Whose they are is not known any more, and of no interest.
            self.counts.accepted(signal, std::mem::take(&mut items), rejected.count);
        }
        Some(Ok(rejected))
    }

    fn not_kept(&self, signal: Signal, why: &NotKept) -> Refusal {
        match why {
            NotKept::Full(why) => full(*why),
            NotKept::Failed(error) => self.not_stored(signal, error),
        }
    }
}

/// Why a group is not in the store.
enum NotKept {
    Full(Full),
    Failed(StoreError),
}
