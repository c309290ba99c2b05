//! Settings of all sinks; each sink's own are with it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use observe::tls::{Files, is_https};

use super::pace::Pace;
use super::{bucket, clickhouse, kafka, otlp};

/// Where else telemetry goes. A sink without an address is off.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Wait after the first failure of a sink, milliseconds; doubles with each, and each wait is shortened by chance so that sinks do
    /// not come back all at once
    #[arg(long, env = "FAULTLINE_SINK_RETRY_MIN_MS", default_value_t = 500)]
    pub sink_retry_min_ms: u64,

    /// Longest wait between two attempts, milliseconds; a far end that is back waits no longer. Nothing is given up: the log keeps it
    #[arg(long, env = "FAULTLINE_SINK_RETRY_MAX_MS", default_value_t = 30_000)]
    pub sink_retry_max_ms: u64,

    /// One call to a far end, seconds; beyond it the answer is as good as lost and the call is made again
    #[arg(long, env = "FAULTLINE_SINK_TIMEOUT_SECONDS", default_value_t = 30)]
    pub sink_timeout_seconds: u64,

    /// PEM file of the certificates that sinks at `https://` addresses are trusted by; those that this machine trusts when not set
    #[arg(long, env = "FAULTLINE_SINK_CERTIFICATE")]
    pub sink_certificate: Option<PathBuf>,

    /// PEM file of our certificate, for sinks at `https://` addresses that ask for one
    #[arg(long, env = "FAULTLINE_SINK_CLIENT_CERTIFICATE")]
    pub sink_client_certificate: Option<PathBuf>,

    /// PEM file of the key that proves that this certificate is ours
    #[arg(long, env = "FAULTLINE_SINK_CLIENT_KEY")]
    pub sink_client_key: Option<PathBuf>,

    #[command(flatten)]
    pub clickhouse: clickhouse::Args,

    #[command(flatten)]
    pub otlp: otlp::Args,

    #[command(flatten)]
    pub kafka: kafka::Args,

    #[command(flatten)]
    pub bucket: bucket::Args,
}

impl Args {
    /// Whether telemetry goes to that topic of those Kafka brokers. Of two names of one broker we cannot tell.
    pub(crate) fn sends_to(&self, servers: &str, topic: &str) -> anyhow::Result<bool> {
        let Some(ours) = &self.kafka.kafka_out_servers else { return Ok(false) };
        let same = ours.split(',').any(|our| servers.split(',').any(|their| our.trim() == their.trim()));
        Ok(same && kafka::topics(&self.kafka.kafka_out_topics)?.values().any(|our| our == topic))
    }

    /// How sinks at `https://` addresses are met. Of those in the clear nothing is read.
    pub(super) fn tls(&self) -> Files<'_> {
        Files {
            settings: "--sink",
            roots: self.sink_certificate.as_deref(),
            certificate: self.sink_client_certificate.as_deref(),
            key: self.sink_client_key.as_deref(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.sink_timeout_seconds.max(1))
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.retry_min(), self.retry_max())
    }

    fn retry_min(&self) -> Duration {
        Duration::from_millis(self.sink_retry_min_ms.max(1))
    }

    fn retry_max(&self) -> Duration {
        Duration::from_millis(self.sink_retry_max_ms).max(self.retry_min())
    }
}

/// Whether an address is one of HTTP's. What a client makes of another it would say only when it is first needed.
pub(super) fn is_http(url: &str) -> anyhow::Result<()> {
    if !url.starts_with("http://") && !is_https(url) {
        bail!("{url} is neither http://host:port nor https://host:port");
    }
    Ok(())
}

/// The defaults and these words, as clap fills them in.
#[cfg(test)]
pub(super) fn test_args(words: &[&str]) -> Args {
    use clap::{Args as _, FromArgMatches as _};

    let matches = Args::augment_args(clap::Command::new("test")).get_matches_from([&["test"], words].concat());
    Args::from_arg_matches(&matches).expect("every setting has a default")
}
