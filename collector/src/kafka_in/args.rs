//! Settings of Kafka in.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use model::Signal;

use crate::media::Encoding;
use crate::sinks::{self, signal_of};

/// Telemetry that waits in Kafka. Nothing is read as long as no servers are set.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Kafka brokers to read telemetry from, host:port separated by commas; none when not set
    #[arg(long, env = "FAULTLINE_KAFKA_IN_SERVERS")]
    pub kafka_in_servers: Option<String>,

    /// File that says how these brokers are reached, by TLS or SASL: librdkafka's settings, key=value a line, as of kcat -F
    #[arg(long, env = "FAULTLINE_KAFKA_IN_CONFIG", value_name = "FILE")]
    pub kafka_in_config: Option<PathBuf>,

    /// Names of topics, where they are not otlp_spans, otlp_logs and otlp_metrics; e.g. traces=shop.otlp_spans. A signal without
    /// a name is not read: metrics=
    #[arg(long, env = "FAULTLINE_KAFKA_IN_TOPICS", value_delimiter = ',', value_name = "SIGNAL=TOPIC,…")]
    pub kafka_in_topics: Vec<String>,

    /// What the values are, an export request each: otlp_proto or otlp_json; for one topic only, e.g. logs=otlp_json
    #[arg(long, env = "FAULTLINE_KAFKA_IN_ENCODING", value_delimiter = ',', default_value = "otlp_proto")]
    pub kafka_in_encoding: Vec<String>,

    /// Consumer group; collectors of one group share the partitions
    #[arg(long, env = "FAULTLINE_KAFKA_IN_GROUP", default_value = "faultline")]
    pub kafka_in_group: String,

    /// Topic for messages that are no export request or too large, with the reason and where they were in their headers
    #[arg(long, env = "FAULTLINE_KAFKA_IN_DEAD_LETTER_TOPIC", default_value = "otlp_dead_letter")]
    pub kafka_in_dead_letter_topic: String,

    /// Messages in hand at once; one group commit takes them together, and with Kafka's usual 1 MB each they are a quarter of
    /// what may be in flight
    #[arg(long, env = "FAULTLINE_KAFKA_IN_MESSAGES_MAX", default_value_t = 64, value_parser = at_least_one)]
    pub kafka_in_messages_max: usize,
}

/// A topic that is read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) signal: Signal,
    pub(super) name: String,
    pub(super) encoding: Encoding,
}

impl Args {
    /// What is read; nothing in it goes back to where it came from.
    pub(super) fn topics(&self) -> anyhow::Result<Vec<Topic>> {
        let (names, encodings) = (sinks::kafka_topics(&self.kafka_in_topics)?, encodings(&self.kafka_in_encoding)?);
        let mut topics: Vec<Topic> = Vec::new();
        for signal in Signal::ALL {
            let name = names[&signal].trim();
            if name.is_empty() {
                continue;
            }
            if let Some(other) = topics.iter().find(|other| other.name == name) {
                let (one, two) = (other.signal.name(), signal.name());
                bail!("topic {name} cannot hold both {one} and {two}; name another for one of them");
            }
            if name == self.kafka_in_dead_letter_topic {
                bail!("{name} is the topic of dead letters, which would be read again, for ever; name another");
            }
            topics.push(Topic { signal, name: name.to_owned(), encoding: encodings[&signal] });
        }
        if topics.is_empty() {
            bail!("no topic is named; without --kafka-in-servers nothing is read");
        }
        Ok(topics)
    }
}

/// Entries without a signal are for all of them; the last word counts.
fn encodings(settings: &[String]) -> anyhow::Result<HashMap<Signal, Encoding>> {
    let mut encodings: HashMap<Signal, Encoding> = Signal::ALL.map(|signal| (signal, Encoding::Protobuf)).into();
    for entry in settings {
        let (signals, name) = match entry.split_once('=') {
            Some((signal, name)) => (vec![signal_of(signal)?], name),
            None => (Signal::ALL.to_vec(), entry.as_str()),
        };
        let encoding = match name.trim() {
            "otlp_proto" => Encoding::Protobuf,
            "otlp_json" => Encoding::Json,
            other => Err(anyhow::anyhow!("there are otlp_proto and otlp_json"))
                .with_context(|| format!("{other:?} is no encoding of --kafka-in-encoding"))?,
        };
        encodings.extend(signals.into_iter().map(|signal| (signal, encoding)));
    }
    Ok(encodings)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("with no message in hand nothing is read; 1 is the least".to_owned()),
        Ok(messages) => Ok(messages),
        Err(error) => Err(format!("{error}")),
    }
}

/// The defaults and these words, as clap fills them in.
#[cfg(test)]
pub(super) fn test_args(words: &[&str]) -> Args {
    use clap::{Args as _, FromArgMatches as _};

    let matches = Args::augment_args(clap::Command::new("test")).get_matches_from([&["test"], words].concat());
    Args::from_arg_matches(&matches).expect("every setting has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(words: &[&str]) -> Result<Vec<(String, Encoding)>, String> {
        let topics = test_args(words).topics().map_err(|error| format!("{error:#}"))?;
        Ok(topics.into_iter().map(|topic| (topic.name, topic.encoding)).collect())
    }

    #[test]
    fn topics_have_the_names_others_use_unless_told_otherwise() {
        use Encoding::{Json, Protobuf};
        let usual = ["otlp_spans", "otlp_logs", "otlp_metrics"].map(|name| (name.to_owned(), Protobuf));
        assert_eq!(topics(&[]), Ok(usual.to_vec()));
        let named = topics(&["--kafka-in-topics=traces=shop.spans,metrics=", "--kafka-in-encoding=logs=otlp_json"]);
        assert_eq!(named, Ok(vec![("shop.spans".to_owned(), Protobuf), ("otlp_logs".to_owned(), Json)]));
        let json = topics(&["--kafka-in-encoding=otlp_json,traces=otlp_proto"]).expect("two encodings");
        assert_eq!(json.iter().map(|(_, encoding)| *encoding).collect::<Vec<_>>(), [Protobuf, Json, Json]);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (words, said) in [
            ("--kafka-in-encoding=jaeger_proto", "there are otlp_proto and otlp_json"),
            ("--kafka-in-encoding=spans=otlp_json", "there are traces, logs and metrics"),
            ("--kafka-in-topics=traces=a,logs=a", "cannot hold both traces and logs"),
            ("--kafka-in-topics=logs=otlp_dead_letter", "for ever"),
            ("--kafka-in-topics=traces=,logs=,metrics=", "no topic is named"),
        ] {
            let error = topics(&[words]).expect_err(words);
            assert!(error.contains(said), "{error}");
        }
    }
}
