//! The topic for messages that cannot be kept, however often they are read: with the reason, and where they were.

use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Header;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tracing::debug;

use super::message::Message;
use crate::refusal::cut;

/// A broker that has not answered by then is asked anew, and `/health` says why.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest that librdkafka can be told; what a topic takes is for its broker to say.
const MESSAGE_BYTES_MAX: usize = 1_000_000_000;
/// Bytes of the reason in its header.
const REASON_BYTES_MAX: usize = 4096;

pub(super) struct DeadLetters {
    producer: FutureProducer<Quiet>,
    topic: String,
}

/// What goes wrong is told by whoever waits for the answer.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
    }
}

impl DeadLetters {
    pub(super) fn new(client: &ClientConfig, topic: &str) -> anyhow::Result<DeadLetters> {
        let mut config = client.clone();
        config
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "0")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("message.timeout.ms", ANSWER_TIME_MAX.as_millis().to_string());
        let producer = config.create_with_context(Quiet).context("could not make a Kafka producer for dead letters")?;
        Ok(DeadLetters { producer, topic: topic.to_owned() })
    }

    /// Returns once the broker has it. An error is what it says, or that it says nothing: then it is to be sent again, and may
    /// be there twice.
    pub(super) async fn send(&self, message: &Message, reason: &str) -> Result<(), String> {
        let sent = self.produce(message, message.value.as_deref(), reason).await;
        match sent.map_err(|error| (error.rdkafka_error_code(), error)) {
            Ok(()) => Ok(()),
            // Without its value it still says where the value is.
            Err((Some(RDKafkaErrorCode::MessageSizeTooLarge), _)) if message.value.is_some() => {
                self.produce(message, None, reason).await.map_err(|error| error.to_string())
            }
            Err((Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition), _)) => {
                let topic = &self.topic;
                let named = "create it, or name another with --kafka-in-dead-letter-topic";
                Err(format!("a dead letter finds no topic {topic}; {named}"))
            }
            Err((_, error)) => Err(format!("a dead letter does not get to {}: {error}", self.topic)),
        }
    }

    async fn produce(&self, message: &Message, value: Option<&[u8]>, reason: &str) -> Result<(), KafkaError> {
        let ours = [
            ("origin_topic", message.topic.clone()),
            ("origin_partition", message.begun.place.1.to_string()),
            ("origin_offset", message.begun.offset.to_string()),
            ("failure_reason", cut(reason.to_owned(), REASON_BYTES_MAX)),
        ];
        let left_out = value.is_none().then(|| ("value_left_out", format!("{} bytes", message.bytes)));
        let theirs = message.headers.clone().unwrap_or_default();
        let headers = ours
            .into_iter()
            .chain(left_out)
            .fold(theirs, |headers, (key, value)| headers.insert(Header { key, value: Some(&value) }));
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        record.key = message.key.as_deref();
        record.payload = value;
        self.producer.send(record, Timeout::Never).await.map(drop).map_err(|(error, _)| error)
    }
}
