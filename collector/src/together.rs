//! Small requests share the making of columns, as all requests share an fsync: both cost more than a few records do. What arrives
//! while a group is on its way forms the next one, so a request that is alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::join_all;
use model::{ConvertedTogether, Rejected, Signal};
use store::{Filled, Full, StoreError};
use tokio::sync::oneshot;

use crate::collector::{Collector, Received, full};
use crate::compression::Compression;
use crate::media::Encoding;
use crate::refusal::Refusal;

/// A larger body is worth its own columns: 140 spans of 460 bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Bodies of one group: a millisecond of decoding that the first of them waits for.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Small requests of one signal.
#[derive(Default)]
pub(crate) struct Line(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Bounded by the gate: each has a place there.
    requests: VecDeque<Member>,
    /// Groups on their way.
    groups: usize,
}

struct Member {
    received: Received,
    answer: oneshot::Sender<Result<Rejected, Refusal>>,
}

/// The right to take groups out of the line.
struct Turn<'a> {
    line: &'a Line,
    is_over: bool,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has to take what waits: there are fewer than `groups_max` at it.
    fn join(&self, member: Member, groups_max: usize) -> bool {
        let mut waiting = self.waiting();
        waiting.requests.push_back(member);
        let is_due = waiting.groups < groups_max;
        waiting.groups += usize::from(is_due);
        is_due
    }
}

impl Turn<'_> {
    /// None: nobody waits, and the turn is over. Who comes now begins the next one.
    fn next(&mut self) -> Option<Vec<Member>> {
        let mut waiting = self.line.waiting();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(first) = waiting.requests.front()
            && (group.is_empty() || bytes + first.received.body.len() <= GROUP_BYTES_MAX)
        {
            bytes += first.received.body.len();
            group.extend(waiting.requests.pop_front());
        }
        if group.is_empty() {
            waiting.groups -= 1;
            self.is_over = true;
            return None;
        }
        Some(group)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.line.waiting().groups -= 1;
        }
    }
}

impl Collector {
    /// Returns once the rows survive a power loss, with what was left out of them.
    pub(crate) async fn keep(self: &Arc<Self>, received: Received) -> Result<Rejected, Refusal> {
        if !self.is_for_a_group(&received) {
            return self.keep_alone(received).await;
        }
        let (signal, (answer, answered)) = (received.signal, oneshot::channel());
        if self.lines[signal as usize].join(Member { received, answer }, self.decoders_max) {
            let collector = Arc::clone(self);
            tokio::spawn(async move { collector.keep_groups(signal).await });
        }
        answered.await.unwrap_or(Err(Refusal::Internal))
    }

    /// Bodies in need of more than decoding go alone, and so does what must be told from others in the log.
    fn is_for_a_group(&self, received: &Received) -> bool {
        received.body.len() <= BODY_BYTES_MAX
            && (received.compression, received.encoding) == (Compression::Identity, Encoding::Protobuf)
            && self.processors.repeats().is_none()
    }

    async fn keep_groups(&self, signal: Signal) {
        let mut turn = Turn { line: &self.lines[signal as usize], is_over: false };
        loop {
            // Requests that have arrived and only wait for a thread come along.
            tokio::task::yield_now().await;
            let Some(group) = turn.next() else { return };
            self.keep_group(signal, group).await;
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
                    let _ = answer.send(self.keep_alone(received).await);
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
            Some(filled.map(|filled| (filled, rejected)).map_err(NotKept::Failed))
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
