//! Takes batches to the collector: the exporters of `opentelemetry-otlp`, one of our own for metrics, and patience
//! around them.
//!
//! The library retries what OTLP calls retryable, after the delay the collector asks for, within `EXPORT_MAX`. A
//! collector that restarts needs more: it may be away for longer, and a call cut in the middle (UNKNOWN) the library
//! gives up at once. So a failed export is asked for again until `OUTAGE_MAX`. The library's error does not tell why
//! it failed, so a request that is refused for good takes that long too.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_otlp::{LogExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::LogExporter as _,
    trace::SpanExporter as _,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use crate::{channel::channel, target::Target};

/// One call, and one export with the library's retries. The collector answers after its fsync, so a loaded disk must
/// fit in.
const EXPORT_MAX: Duration = Duration::from_secs(10);
/// Between two exports of the same items, beyond the library's own delays.
const PAUSE: Duration = Duration::from_millis(500);
/// From the first attempt to giving up: longer than a collector takes to restart.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Exporters {
    pub(crate) spans: SpanExporter,
    pub(crate) logs: LogExporter,
    pub(crate) metrics: MetricExporter,
}

impl Exporters {
    /// Connects later. Call in the context of the runtime that shall carry the connections.
    pub(crate) fn new(target: &Target, resource: &Resource) -> anyhow::Result<Exporters> {
        let wrong = || format!("{} is no address of a collector", target.endpoint);
        let channel = channel(&target.endpoint, target.tls.clone(), EXPORT_MAX).with_context(wrong)?;
        let mut spans = aimed(SpanExporter::builder().with_tonic(), target, &channel).build().with_context(wrong)?;
        let mut logs = aimed(LogExporter::builder().with_tonic(), target, &channel).build().with_context(wrong)?;
        let metrics = MetricExporter::new(target, channel);
        spans.set_resource(resource);
        logs.set_resource(resource); // metrics come with theirs
        Ok(Exporters { spans, logs, metrics })
    }
}

fn aimed<B: WithExportConfig + WithTonicConfig>(builder: B, target: &Target, channel: &Channel) -> B {
    let builder = builder.with_channel(channel.clone()).with_metadata(target.headers.clone());
    builder.with_timeout(EXPORT_MAX).with_retry_policy(RetryPolicy::recommended())
}

/// Sends requests of metrics as they are. The library's exporter makes its request from what the SDK collected, where
/// exemplars have no place. Its retries within one export are not missed: [`deliver`] asks again anyhow.
#[derive(Clone, Debug)]
pub(crate) struct MetricExporter {
    client: MetricsServiceClient<Channel>,
    headers: MetadataMap,
}

impl MetricExporter {
    fn new(target: &Target, channel: Channel) -> MetricExporter {
        MetricExporter { client: MetricsServiceClient::new(channel), headers: target.headers.clone() }
    }

    pub(crate) async fn export(&self, request: ExportMetricsServiceRequest) -> OTelSdkResult {
        let mut request = Request::new(request);
        *request.metadata_mut() = self.headers.clone();
        let answer = self.client.clone().export(request).await;
        answer.map(drop).map_err(|status| OTelSdkError::InternalFailure(status.to_string()))
    }
}

/// Exports until it succeeds; false if that took `OUTAGE_MAX` or was abandoned.
pub(crate) async fn deliver<F>(export: impl Fn() -> F, abandon: &CancellationToken) -> bool
where
    F: Future<Output = OTelSdkResult>,
{
    let persist = async {
        while export().await.is_err() {
            sleep(PAUSE).await;
        }
    };
    matches!(abandon.run_until_cancelled(timeout(OUTAGE_MAX, persist)).await, Some(Ok(())))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    /// The collector comes back after `outage`. Whether that was in time, by the paused clock.
    async fn outlasts(outage: Duration) -> bool {
        let back = Instant::now() + outage;
        let attempts = Cell::new(0);
        let export = async || {
            attempts.set(attempts.get() + 1);
            if Instant::now() < back { Err(OTelSdkError::InternalFailure("away".to_owned())) } else { Ok(()) }
        };
        let delivered = deliver(export, &CancellationToken::new()).await;
        assert!(attempts.get() > 1);
        delivered
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_is_outlasted_but_not_an_absence() {
        assert!(outlasts(OUTAGE_MAX - 2 * PAUSE).await);
        assert!(!outlasts(OUTAGE_MAX + 2 * PAUSE).await);
    }
}
