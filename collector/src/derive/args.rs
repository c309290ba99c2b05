//! Settings of what is derived from spans.

use std::time::Duration;

use clap::ArgAction;

/// Metrics made of spans. Off unless asked for: SQL answers the same from the spans themselves (`service_red`, `dependencies`),
/// and a point a series at every interval costs disk for ever. Worth it where metrics are kept longer than spans, where the sinks
/// send only a sample of the spans on, or where dashboards look for these names.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// Count spans and their durations as the metrics `calls` and `duration`, as the span metrics connector of OpenTelemetry does, by
    /// service.name, span.name, span.kind and status.code
    #[arg(long, env = "FAULTLINE_SPAN_METRICS", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false)]
    pub span_metrics: bool,

    /// More attributes to count by, of the span or else of its resource, separated by commas; a span without one is counted without
    #[arg(long, env = "FAULTLINE_SPAN_METRICS_ATTRIBUTES", value_delimiter = ',', value_name = "KEY,…")]
    pub span_metrics_attributes: Vec<String>,

    /// Put before the two names, with a dot between; newer connectors of OpenTelemetry say traces.span.metrics
    #[arg(long, env = "FAULTLINE_SPAN_METRICS_NAMESPACE")]
    pub span_metrics_namespace: Option<String>,

    /// Unit of `duration`; the connector's is milliseconds
    #[arg(long, env = "FAULTLINE_SPAN_METRICS_UNIT", value_enum, default_value_t = Unit::Ms)]
    pub span_metrics_unit: Unit,

    /// Count requests between services as the metrics `traces_service_graph_request_…`, as the service graph connector of
    /// OpenTelemetry does, by client, server and connection_type
    #[arg(long, env = "FAULTLINE_SERVICE_GRAPH", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false)]
    pub service_graph: bool,

    /// Wait this long for the other side of a request, milliseconds; exporters send each side up to 5 s after its end
    #[arg(long, env = "FAULTLINE_SERVICE_GRAPH_WAIT_MAX_MS", default_value_t = 10_000)]
    pub service_graph_wait_max_ms: u64,

    /// Requests of which one side is known and waited for; beyond it the next are not waited for. Some 200 B each
    #[arg(long, env = "FAULTLINE_SERVICE_GRAPH_WAITING_MAX", default_value_t = 10_000)]
    pub service_graph_waiting_max: usize,

    /// Time between two points of a series, milliseconds; four a minute is what dashboards expect that rate over a minute
    #[arg(long, env = "FAULTLINE_DERIVED_INTERVAL_MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub derived_interval_ms: u64,

    /// Series of each of the two; what would be one more is counted in one series with otel.metric.overflow. As in the SDKs of
    /// OpenTelemetry
    #[arg(long, env = "FAULTLINE_DERIVED_SERIES_MAX", default_value_t = 2000)]
    pub derived_series_max: usize,

    /// A series that nothing was added to for this long, seconds, gets no more points and begins anew when it comes again. The
    /// look-back of Prometheus
    #[arg(long, env = "FAULTLINE_DERIVED_IDLE_SECONDS_MAX", default_value_t = 300)]
    pub derived_idle_seconds_max: u64,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Ms,
    S,
}

impl Args {
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.derived_interval_ms)
    }

    pub(super) fn idle_ms_max(&self) -> u64 {
        self.derived_idle_seconds_max.saturating_mul(1000)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.span_metrics || self.service_graph
    }
}
