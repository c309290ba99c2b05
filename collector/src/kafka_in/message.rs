//! One message, from the topic until it is durable or among the dead letters.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Rejected;
use rdkafka::message::{BorrowedMessage, Message as _, OwnedHeaders};
use tokio_util::sync::CancellationToken;

use super::account::{Account, Waiting};
use super::args::Topic;
use super::dead_letters::DeadLetters;
use super::positions::Begun;
use crate::collector::{Collector, Received};
use crate::compression::Compression;
use crate::gate::Lease;
use crate::media::Encoding;
use crate::refusal::Refusal;
use crate::sinks::Pace;

/// A full store has room again within a group commit or a compaction, and asking costs little.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// A message that waited for long is late by this much more at most.
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(super) struct Message {
    pub(super) begun: Begun,
    pub(super) topic: String,
    encoding: Encoding,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Option<OwnedHeaders>,
    /// None: left in the topic, because it is more than may ever be in flight.
    pub(super) value: Option<Bytes>,
    /// Of the value.
    pub(super) bytes: usize,
    /// The room the value takes.
    lease: Lease,
}

impl Message {
    /// None while there is no room for it.
    pub(super) fn admit(
        from: &BorrowedMessage<'_>,
        topic: &Topic,
        begun: Begun,
        collector: &Collector,
    ) -> Option<Message> {
        let payload = from.payload().unwrap_or_default();
        let fits = payload.len() <= collector.limits.otlp_in_flight_bytes_max;
        let lease = collector.gate.admit(if fits { payload.len() } else { 0 })?;
        Some(Message {
            begun,
            topic: topic.name.clone(),
            encoding: topic.encoding,
            key: from.key().map(<[u8]>::to_vec),
            headers: from.headers().map(|headers| headers.detach()),
            value: fits.then(|| Bytes::copy_from_slice(payload)),
            bytes: payload.len(),
            lease,
        })
    }
}

/// Deals with messages.
pub(super) struct Keeper {
    pub(super) collector: Arc<Collector>,
    pub(super) dead_letters: DeadLetters,
    pub(super) account: Arc<Account>,
}

/// What came of a message that was read to its end.
enum Read {
    Kept(Rejected),
    Poison(Refusal),
}

/// Asked to stop before it was dealt with: it is read again.
struct Stopped;

impl Keeper {
    /// Whether it is dealt with; otherwise it is to be read again.
    pub(super) async fn deal_with(&self, message: Message, stop: CancellationToken) -> bool {
        let waiting = Waiting::new(&self.account, message.begun);
        let dealt = async {
            match self.read(&message, &waiting, &stop).await? {
                Read::Kept(rejected) => self.account.kept(message.begun, &rejected),
                Read::Poison(refusal) => self.put_aside(&message, &refusal, &waiting, &stop).await?,
            }
            Ok::<_, Stopped>(())
        };
        dealt.await.is_ok()
    }

    /// A store that takes nothing now is asked until it does.
    async fn read(&self, message: &Message, waiting: &Waiting, stop: &CancellationToken) -> Result<Read, Stopped> {
        let bytes_max = self.collector.limits.otlp_request_bytes_max;
        let Some(value) = message.value.as_ref().filter(|value| value.len() <= bytes_max) else {
            return Ok(Read::Poison(Refusal::TooLarge { bytes_max }));
        };
        let signal = message.begun.place.0;
        let mut pace = Pace::new(RETRY_MIN, RETRY_MAX);
        loop {
            let attempt = async {
                let (encoding, compression, body) = (message.encoding, Compression::Identity, value.clone());
                let lease = message.lease.attempt()?;
                self.collector.keep(Received { signal, encoding, compression, body, lease }).await
            };
            let busy = match attempt.await {
                Ok(rejected) => return Ok(Read::Kept(rejected)),
                Err(busy @ Refusal::Busy { .. }) => busy,
                Err(refusal) => return Ok(Read::Poison(refusal)),
            };
            // The delay in it is for many clients that have to be spread. We are one, and ask a store in our own process.
            waiting.failed(busy.status().message());
            self.collector.refused(signal, &busy);
            wait(pace.failed(None), stop).await?;
        }
    }

    /// The broker has it before anything is said of its offset.
    async fn put_aside(
        &self,
        message: &Message,
        refusal: &Refusal,
        waiting: &Waiting,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let reason = refusal.status().message().to_owned();
        let mut pace = Pace::new(RETRY_MIN, RETRY_MAX);
        while let Err(trouble) = self.dead_letters.send(message, &reason).await {
            waiting.failed(&trouble);
            wait(pace.failed(None), stop).await?;
        }
        self.collector.counts.refused(message.begun.place.0, refusal);
        self.account.dead_lettered(message.begun, &reason);
        Ok(())
    }
}

async fn wait(time: Duration, stop: &CancellationToken) -> Result<(), Stopped> {
    let waited = stop.run_until_cancelled(tokio::time::sleep(time)).await;
    waited.ok_or(Stopped)
}
