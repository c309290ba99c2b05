//! What can be set about our own telemetry.

use std::path::PathBuf;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Collector that receives our own telemetry (OTLP over gRPC), e.g. `http://127.0.0.1:4317` or `https://collector.shop:4317`. It
    /// need not be up. None by default: a part that runs alone keeps to itself, so that a store holds what was sent to it and
    /// nothing else;
    /// `up` names its own collector.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Headers of every export, `name=value` with commas between, values percent-encoded: authorization=Bearer%20… for a
    /// collector that asks who sends. None by default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_name = "NAME=VALUE,…")]
    pub otlp_headers: Option<String>,

    /// PEM file of roots: the collector at an `https` address needs a certificate that leads to one of them. Those that this
    /// machine trusts by default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_certificate: Option<PathBuf>,

    /// PEM file of our certificate, for a collector that asks clients for one. None by default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub otlp_client_certificate: Option<PathBuf>,

    /// PEM file of the private key of that certificate.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_KEY", value_name = "FILE")]
    pub otlp_client_key: Option<PathBuf>,

    /// `service.version` in all telemetry: what tells an old instance from a new one while both run. A deploy names its own.
    #[arg(long, env = "FAULTLINE_SERVICE_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub service_version: String,

    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`. The exporter's own crates never are.
    #[arg(long, env = "FAULTLINE_LOG", default_value = "info")]
    pub log_filter: String,

    /// Folder where shutdown leaves `<service>-<instance>.json`, the counts of what was made, dropped, acknowledged.
    /// None by default: only who compares source with storage needs it.
    #[arg(long, env = "FAULTLINE_COUNTS_DIR")]
    pub counts_dir: Option<PathBuf>,

    /// Milliseconds between two exports of metrics: 5 s is a fine grain for a screen and few points for a store.
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", default_value_t = 5_000)]
    pub metric_interval_ms: u64,
}
