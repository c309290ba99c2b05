//! Telemetry into Kafka, an export request a message (`otlp_proto`), in the topics that other collectors read and write.
//!
//! The producer is idempotent: what it repeats by itself is there once and in order. After a crash, or an answer that was lost
//! for longer than it waits, a message may be there twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use model::Signal;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use store::{Handover, Portion};
use tracing::debug;

use super::requests::{Size, requests};
use super::{Address, Failure, Parcel, Sent};
use crate::kafka_client;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Kafka brokers that get all telemetry too, host:port separated by commas; none when not set
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_SERVERS")]
    pub kafka_out_servers: Option<String>,

    /// File that says how these brokers are reached, by TLS or SASL: librdkafka's settings, key=value a line, as of kcat -F
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_CONFIG", value_name = "FILE")]
    pub kafka_out_config: Option<PathBuf>,

    /// Names of topics, where they are not otlp_spans, otlp_logs and otlp_metrics; e.g. traces=shop.otlp_spans
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_TOPICS", value_delimiter = ',', value_name = "SIGNAL=TOPIC,…")]
    pub kafka_out_topics: Vec<String>,

    /// Spans, records or points of one message; a consumer has each of them in memory
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_ROWS_MAX", default_value_t = 8192)]
    pub kafka_out_rows_max: usize,

    /// Bytes of one message before compression; below the 1 MB that a broker takes unless it is told otherwise
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_BYTES_MAX", default_value_t = 900_000)]
    pub kafka_out_bytes_max: usize,

    /// Wait this long for a message to fill, milliseconds; as other collectors do
    #[arg(long, env = "FAULTLINE_KAFKA_OUT_WAIT_MAX_MS", default_value_t = 200)]
    pub kafka_out_wait_max_ms: u64,
}

/// Bytes of the log read at once; messages are cut from what they hold.
const BYTES_MAX: u64 = 4 << 20;
/// What a record is larger than its message.
const RECORD_BYTES: usize = 1024;

pub(crate) struct Kafka {
    config: ClientConfig,
    /// Replaced when it has met an error that is final for it.
    producer: Mutex<FutureProducer<Heard>>,
    heard: Heard,
    topics: HashMap<Signal, String>,
    size: Size,
    portion: Portion,
}

/// Why brokers were not reached, in the words of the client: a message that waits for them only says that it waited too long.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Heard {
    fn reason(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
        // It follows what is wrong with each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.reason() = reason.to_owned();
        }
    }
}

impl Kafka {
    pub(super) fn new(servers: &str, args: &Args, timeout: Duration) -> anyhow::Result<Kafka> {
        let topics = topics(&args.kafka_out_topics)?;
        let mut config = kafka_client::config(servers, args.kafka_out_config.as_deref())?;
        config
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            // One message at a time is in hand: nothing would come that is worth waiting for.
            .set("linger.ms", "0")
            .set("message.max.bytes", (args.kafka_out_bytes_max + RECORD_BYTES).max(1000).to_string())
            .set("message.timeout.ms", timeout.as_millis().to_string());
        let heard = Heard::default();
        let producer = config.create_with_context(heard.clone()).context("could not make a Kafka producer")?;
        let size = Size { rows_max: args.kafka_out_rows_max, bytes_max: args.kafka_out_bytes_max };
        let rows = args.kafka_out_rows_max as u64;
        let wait_max = Duration::from_millis(args.kafka_out_wait_max_ms);
        let portion = Portion { rows_min: rows, wait_max, rows_max: rows, bytes_max: BYTES_MAX };
        Ok(Kafka { config, producer: Mutex::new(producer), heard, topics, size, portion })
    }

    pub(super) fn portion(&self) -> Portion {
        self.portion
    }

    pub(super) fn pack(&self, handover: &Handover) -> Vec<Parcel> {
        requests(handover, self.size)
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> Result<Sent, Failure> {
        let topic = match parcel.to {
            Address::Signal(signal) => self.topics.get(&signal),
            Address::Table(_) => None,
        };
        let Some(topic) = topic else {
            return Err(Failure::Never { reason: "it is addressed to no topic".to_owned() });
        };
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A range of the log is one batch of one signal: nothing in it asks for a partition.
        let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(topic).payload(&parcel.body[..]);
        let Err((error, _)) = producer.send(record, Timeout::Never).await else {
            self.heard.reason().clear();
            return Ok(Sent::default());
        };
        if let Some((_, reason)) = producer.client().fatal_error() {
            self.replace();
            return Err(Failure::later(reason));
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                let bytes = parcel.body.len();
                Err(Failure::Never { reason: format!("a message of {bytes} bytes is too large for {topic}") })
            }
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                let reason = format!("there is no topic {topic}; create it, or name another with --kafka-out-topics");
                Err(Failure::later(reason))
            }
            Some(RDKafkaErrorCode::MessageTimedOut) => {
                let heard = self.heard.reason();
                let why = if heard.is_empty() { error.to_string() } else { heard.clone() };
                Err(Failure::later(why))
            }
            _ => Err(Failure::later(error)),
        }
    }

    fn replace(&self) {
        if let Ok(producer) = self.config.create_with_context(self.heard.clone()) {
            *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = producer;
        }
    }
}

/// Of each signal, by what is set where it is not the usual one.
pub(crate) fn topics(settings: &[String]) -> anyhow::Result<HashMap<Signal, String>> {
    let defaults = [(Signal::Traces, "otlp_spans"), (Signal::Logs, "otlp_logs"), (Signal::Metrics, "otlp_metrics")];
    let mut topics: HashMap<Signal, String> =
        defaults.into_iter().map(|(signal, topic)| (signal, topic.to_owned())).collect();
    for entry in settings {
        let (name, topic) = entry.split_once('=').with_context(|| format!("{entry:?} is not SIGNAL=TOPIC"))?;
        topics.insert(signal_of(name)?, topic.to_owned());
    }
    Ok(topics)
}

pub(crate) fn signal_of(name: &str) -> anyhow::Result<Signal> {
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == name);
    signal.with_context(|| format!("{name:?} is no signal; there are traces, logs and metrics"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::args::test_args;

    #[test]
    fn topics_have_the_names_others_use_unless_told_otherwise() {
        let named = test_args(&["--kafka-out-topics=traces=shop.spans,logs=l"]).kafka.kafka_out_topics;
        let topics = topics(&named).expect("two topics");
        assert_eq!(
            [Signal::Traces, Signal::Logs, Signal::Metrics].map(|it| topics[&it].as_str()),
            ["shop.spans", "l", "otlp_metrics"]
        );
        assert!(super::topics(&["spans=x".to_owned()]).is_err());
        assert!(super::topics(&["traces".to_owned()]).is_err());
    }

    #[test]
    fn the_settings_make_a_producer() {
        let args = test_args(&["--kafka-out-servers=127.0.0.1:1"]).kafka;
        Kafka::new("127.0.0.1:1", &args, Duration::from_secs(30)).expect("librdkafka knows every setting");
    }
}
