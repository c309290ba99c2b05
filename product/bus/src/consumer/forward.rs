//! Puts a message aside: into the next retry topic, or among the dead letters.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rdkafka::{
    message::{Header, Headers, Message, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use tracing::{Instrument, Span};

use super::{ConsumerConfig, tier};
use crate::{
    Event,
    kafka::Quiet,
    measure::{METRICS, processing, sending},
    spans,
};

/// When the broker does not take it in this time, the session ends and the message is read again.
const SEND_MAX_MS: &str = "10000";
const DUE: &str = "retry_due_ms";
const TOPIC: &str = "origin_topic";
/// Headers of ours, replaced each time; all others travel on.
const OURS: [&str; 8] =
    [DUE, TOPIC, "origin_partition", "origin_offset", "failure_reason", "attempts", "traceparent", "tracestate"];

pub(super) struct Forward {
    producer: FutureProducer<Quiet>,
    group: String,
    delays: Vec<Duration>,
}

/// Where a message was first, before any retry.
pub(crate) fn origin(message: &impl Message) -> String {
    header(message, TOPIC).unwrap_or_else(|| message.topic().to_owned())
}

/// When it may be tried again; at once if it does not say.
pub(super) fn due(message: &impl Message) -> SystemTime {
    let milliseconds = header(message, DUE).and_then(|due| due.parse().ok()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// Those it had before it was put aside, with the context of whoever put it aside last.
pub(crate) fn original_headers(message: &impl Message) -> OwnedHeaders {
    let all = headers(message).into_iter();
    owned(all.filter(|(name, _)| !OURS.contains(&name.as_str()) || name.starts_with("trace")))
}

fn owned(headers: impl Iterator<Item = (String, String)>) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key: &key, value: Some(&value) }))
}

pub(crate) fn headers(message: &impl Message) -> Vec<(String, String)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned()))
        .collect()
}

fn header(message: &impl Message, name: &str) -> Option<String> {
    headers(message).into_iter().find_map(|(found, value)| (found == name).then_some(value))
}

impl Forward {
    pub(super) fn new(config: &ConsumerConfig) -> anyhow::Result<Self> {
        let mut client = config.kafka.client();
        let producer = client
            .set("acks", "all")
            .set("message.timeout.ms", SEND_MAX_MS)
            .set("linger.ms", "0")
            .create_with_context(Quiet)?;
        Ok(Self { producer, group: config.group.clone(), delays: config.retry_delays.clone() })
    }

    /// After `attempts` failures: the next retry topic, or the dead letters when there is none. Says whether it is a retry.
    pub(super) async fn later(
        &self,
        message: &impl Message,
        event: &Event,
        attempts: usize,
        reason: &str,
    ) -> anyhow::Result<bool> {
        let Some(delay) = self.delays.get(attempts - 1) else {
            self.give_up(message, Some(event), attempts, reason).await?;
            return Ok(false);
        };
        let topic = tier::retry_topic(&origin(message), &self.group, attempts);
        let due = SystemTime::now() + *delay;
        METRICS.retries.add(1, &processing(&topic, &self.group));
        self.put(message, Some(event), &topic, attempts, reason, Some(due)).await?;
        Ok(true)
    }

    /// To the dead letters. `event` is none when the message is not one.
    pub(super) async fn give_up(
        &self,
        message: &impl Message,
        event: Option<&Event>,
        attempts: usize,
        reason: &str,
    ) -> anyhow::Result<()> {
        let topic = tier::dead_letter_topic(&origin(message), &self.group);
        METRICS.dead_letters.add(1, &processing(&topic, &self.group));
        self.put(message, event, &topic, attempts, reason, None).await
    }

    async fn put(
        &self,
        message: &impl Message,
        event: Option<&Event>,
        topic: &str,
        attempts: usize,
        reason: &str,
        due: Option<SystemTime>,
    ) -> anyhow::Result<()> {
        let span = event.map_or_else(Span::none, |event| {
            // Child of the attempt that failed, which is the current span.
            spans::send(topic, &Event { traceparent: None, tracestate: None, ..event.clone() })
        });
        let mut all = headers(message);
        let trace = match observe::context::headers_of(&span) {
            none if none.is_empty() => all.iter().filter(|(name, _)| name.starts_with("trace")).cloned().collect(),
            of_span => of_span,
        };
        let kept = |name| header(message, name);
        let first_partition = kept("origin_partition").unwrap_or_else(|| message.partition().to_string());
        let first_offset = kept("origin_offset").unwrap_or_else(|| message.offset().to_string());
        let first_topic = origin(message);
        all.retain(|(name, _)| !OURS.contains(&name.as_str()));
        all.extend(trace);
        all.extend([
            (TOPIC.to_owned(), first_topic),
            ("origin_partition".to_owned(), first_partition),
            ("origin_offset".to_owned(), first_offset),
            ("failure_reason".to_owned(), reason.to_owned()),
            ("attempts".to_owned(), attempts.to_string()),
        ]);
        let due = due.and_then(|due| due.duration_since(UNIX_EPOCH).ok());
        all.extend(due.map(|due| (DUE.to_owned(), due.as_millis().to_string())));

        let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(owned(all.into_iter()));
        record.key = message.key();
        record.payload = message.payload();
        let started = Instant::now();
        let sent = self.producer.send(record, Timeout::Never).instrument(span.clone()).await;
        let delivery =
            sent.map_err(|(error, _)| error).with_context(|| format!("could not put a message into {topic}"))?;
        spans::sent(&span, delivery.partition, delivery.offset);
        let attributes = sending(topic);
        METRICS.send_duration.record(started.elapsed(), &attributes, &span);
        METRICS.sent.add(1, &attributes);
        Ok(())
    }
}
