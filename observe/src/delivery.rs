//! Takes one OTLP request to the collector, with bounded retries.
//!
//! Not `opentelemetry-otlp`'s exporter: it reports success when the collector rejected items
//! (`partial_success`) and hides the status code, so neither exact counts nor our retries could be built on it.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status, transport::Channel};

/// One attempt. The collector answers after its fsync, so a loaded disk must fit in.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// From the first attempt to giving up: longer than a collector takes to restart.
const RETRIES_MAX: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(crate) enum Request {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// Sends `request` until it is answered for good; returns how many of its items the collector rejected.
pub(crate) async fn deliver(channel: &Channel, request: &Request) -> Result<u64, Status> {
    let give_up = Instant::now() + RETRIES_MAX;
    let mut backoff = BACKOFF_MIN;
    loop {
        let status = match timeout(ATTEMPT_MAX, send(channel.clone(), request.clone())).await {
            Ok(Ok(rejected)) => return Ok(rejected),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer from the collector"),
        };
        let again = Instant::now() + backoff;
        if !retryable(&status) || again > give_up {
            return Err(status);
        }
        sleep_until(again).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

async fn send(channel: Channel, request: Request) -> Result<u64, Status> {
    let rejected = match request {
        Request::Traces(request) => {
            let answer = TraceServiceClient::new(channel).export(request).await?;
            answer.into_inner().partial_success.map(|partial| partial.rejected_spans)
        }
        Request::Logs(request) => {
            let answer = LogsServiceClient::new(channel).export(request).await?;
            answer.into_inner().partial_success.map(|partial| partial.rejected_log_records)
        }
        Request::Metrics(request) => {
            let answer = MetricsServiceClient::new(channel).export(request).await?;
            answer.into_inner().partial_success.map(|partial| partial.rejected_data_points)
        }
    };
    Ok(rejected.and_then(|rejected| u64::try_from(rejected).ok()).unwrap_or(0))
}

/// The OTLP specification's list. A connection that could not be made arrives as UNAVAILABLE, one that broke
/// in the middle of a call as UNKNOWN.
fn retryable(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unknown
    )
}
