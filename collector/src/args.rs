//! Every setting of the collector: its unit, its default and the reason for it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{derive, kafka_in, sampling, sinks};

/// Settings of `faultline collector`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Address of OTLP/gRPC; the port every SDK tries first
    #[arg(long, env = "FAULTLINE_OTLP_GRPC", default_value = "127.0.0.1:4317")]
    pub otlp_grpc: SocketAddr,

    /// Address of OTLP/HTTP, of /health, /ready and /metrics
    #[arg(long, env = "FAULTLINE_OTLP_HTTP", default_value = "127.0.0.1:4318")]
    pub otlp_http: SocketAddr,

    /// Address of /health, /ready and /metrics alone: always in the clear, and exporters cannot take its connections. None when
    /// not set; with client certificates, which probes rarely have, it is needed
    #[arg(long, env = "FAULTLINE_OTLP_PROBE")]
    pub otlp_probe: Option<SocketAddr>,

    #[command(flatten)]
    pub access: Access,

    /// TOML file with a table `[processors]`: what is changed, masked, dropped or sampled between arrival and log. A `[processors]` in
    /// faultline.toml means that file; without either everything is kept as it came. Read at the start
    #[arg(long, env = "FAULTLINE_PROCESSORS", value_name = "FILE")]
    pub processors: Option<PathBuf>,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub kafka_in: kafka_in::Args,

    #[command(flatten)]
    pub store: store::Args,

    #[command(flatten)]
    pub sinks: sinks::Args,

    #[command(flatten)]
    pub derived: derive::Args,

    #[command(flatten)]
    pub sampling: sampling::Args,
}

/// Who may send. Everybody who reaches the ports, as long as none of this is set.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Access {
    /// PEM file of our certificate and those between it and its root; TLS on both OTLP ports. In the clear when not set
    #[arg(long, env = "FAULTLINE_OTLP_TLS_CERT", value_name = "FILE")]
    pub otlp_tls_cert: Option<PathBuf>,

    /// PEM file of the private key of that certificate
    #[arg(long, env = "FAULTLINE_OTLP_TLS_KEY", value_name = "FILE")]
    pub otlp_tls_key: Option<PathBuf>,

    /// PEM file of roots; who connects needs a certificate that leads to one of them. None is asked for when not set
    #[arg(long, env = "FAULTLINE_OTLP_TLS_CLIENT_CA", value_name = "FILE")]
    pub otlp_tls_client_ca: Option<PathBuf>,

    /// The one token with which everybody may send, as `authorization: Bearer …`
    #[arg(long, env = "FAULTLINE_OTLP_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub otlp_token: Option<Secret>,

    /// TOML file of the clients that may send: a table each, with `token`, or with `user` and `password`, and with the limits
    /// `requests_per_second_max` and `bytes_per_second_max`
    #[arg(long, env = "FAULTLINE_OTLP_CLIENTS", value_name = "FILE")]
    pub otlp_clients: Option<PathBuf>,

    /// Seconds between two looks at these files; a renewed certificate or a new token works after that, without a restart
    #[arg(long, env = "FAULTLINE_OTLP_RELOAD_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub otlp_reload_seconds: u64,

    /// Origins of web pages that may send over HTTP, such as `https://shop.example`, or `*`. None when not set
    #[arg(long, env = "FAULTLINE_OTLP_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub otlp_cors_origins: Vec<String>,
}

/// Text that appears in no log line and no list of settings.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a secret")
    }
}

impl Access {
    pub(crate) fn reload_interval(&self) -> Duration {
        Duration::from_secs(self.otlp_reload_seconds)
    }
}

/// What one client, and all of them together, may take from this process.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Limits {
    /// One request after decompression, bytes; 64 MiB is what the OTLP specification recommends
    #[arg(long, env = "FAULTLINE_OTLP_REQUEST_BYTES_MAX", default_value_t = 64 << 20)]
    pub otlp_request_bytes_max: usize,

    /// Bodies of all requests being read, inflated and decoded, bytes; four requests of the largest size
    #[arg(long, env = "FAULTLINE_OTLP_IN_FLIGHT_BYTES_MAX", default_value_t = 256 << 20)]
    pub otlp_in_flight_bytes_max: usize,

    /// Requests being served at once; each also holds a task and, with a body, a buffer
    #[arg(long, env = "FAULTLINE_OTLP_REQUESTS_MAX", default_value_t = 4096)]
    pub otlp_requests_max: usize,

    /// Header fields of one request, bytes; exporters send a few hundred, tokens a few thousand
    #[arg(long, env = "FAULTLINE_OTLP_HEADER_BYTES_MAX", default_value_t = 16 << 10, value_parser = at_least_8_kib)]
    pub otlp_header_bytes_max: usize,

    /// Open connections per listener; more wait in the kernel's queue, so that file descriptors cannot run out
    #[arg(long, env = "FAULTLINE_OTLP_CONNECTIONS_MAX", default_value_t = 512)]
    pub otlp_connections_max: usize,

    /// Seconds for a TLS handshake; two round trips and a signature, far less than a second on any network that is up
    #[arg(long, env = "FAULTLINE_OTLP_HANDSHAKE_SECONDS_MAX", default_value_t = 10)]
    pub otlp_handshake_seconds_max: u64,

    /// Requests at once on one HTTP/2 connection; SDKs keep one, agents a few dozen
    #[arg(long, env = "FAULTLINE_OTLP_STREAMS_MAX", default_value_t = 128)]
    pub otlp_streams_max: u32,

    /// Seconds for a body to arrive whole; 64 MiB in this time is 2 MiB/s, less is a stalled client
    #[arg(long, env = "FAULTLINE_OTLP_BODY_SECONDS_MAX", default_value_t = 30)]
    pub otlp_body_seconds_max: u64,

    /// Seconds a connection may stay silent, take for one header, or leave an answer unread; above the 60 s between two metric
    /// exports, because a silence between two requests counts as well
    #[arg(long, env = "FAULTLINE_OTLP_IDLE_SECONDS_MAX", default_value_t = 90)]
    pub otlp_idle_seconds_max: u64,

    /// Seconds for requests in flight to finish after a stop; an append takes milliseconds, the rest is slow clients
    #[arg(long, env = "FAULTLINE_OTLP_DRAIN_SECONDS_MAX", default_value_t = 5)]
    pub otlp_drain_seconds_max: u64,

    /// Seconds a refused client is told to wait when memory is short; it drains in milliseconds, a second spreads the retries
    #[arg(long, env = "FAULTLINE_OTLP_RETRY_SECONDS", default_value_t = 1)]
    pub otlp_retry_seconds: u64,

    /// Requests decoded at once, off the async threads; 0 is one a core
    #[arg(long, env = "FAULTLINE_OTLP_DECODERS_MAX", default_value_t = 0)]
    pub otlp_decoders_max: usize,

    /// Seconds of one decode or one group commit after which /health calls its worker stuck; the largest request decodes in
    /// under one, an fsync on a struggling disk takes some ten
    #[arg(long, env = "FAULTLINE_OTLP_STUCK_SECONDS_MIN", default_value_t = 30)]
    pub otlp_stuck_seconds_min: u64,
}

impl Limits {
    pub(crate) fn handshake_time_max(&self) -> Duration {
        Duration::from_secs(self.otlp_handshake_seconds_max)
    }

    pub(crate) fn stuck_time_min(&self) -> Duration {
        Duration::from_secs(self.otlp_stuck_seconds_min)
    }

    pub(crate) fn body_time_max(&self) -> Duration {
        Duration::from_secs(self.otlp_body_seconds_max)
    }

    pub(crate) fn idle_time_max(&self) -> Duration {
        Duration::from_secs(self.otlp_idle_seconds_max)
    }

    pub(crate) fn drain_time_max(&self) -> Duration {
        Duration::from_secs(self.otlp_drain_seconds_max)
    }

    pub(crate) fn retry_delay(&self) -> Duration {
        Duration::from_secs(self.otlp_retry_seconds)
    }

    pub(crate) fn decoders_max(&self) -> usize {
        match self.otlp_decoders_max {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            decoders => decoders,
        }
    }
}

/// hyper refuses a smaller HTTP/1.1 buffer by panicking, so the sentence comes from here.
fn at_least_8_kib(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(bytes) if bytes >= 8 << 10 => Ok(bytes),
        Ok(bytes) => Err(format!("{bytes} is too small, an HTTP header needs at least 8192 bytes")),
        Err(error) => Err(error.to_string()),
    }
}

/// The defaults, as clap fills them in.
#[cfg(test)]
pub(crate) fn test_limits() -> Limits {
    use clap::{Args as _, FromArgMatches as _};

    let matches = Limits::augment_args(clap::Command::new("test")).get_matches_from(["test"]);
    Limits::from_arg_matches(&matches).expect("every limit has a default")
}
