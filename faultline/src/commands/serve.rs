//! Runs one part as a process: observed from before its first action until after its last.

use std::future::Future;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::cli::Part;

/// Order at the end: the part stops and drains, then its telemetry is flushed.
pub(crate) async fn part<A, F>(
    service: &str,
    part: Part<A>,
    run: impl FnOnce(A, CancellationToken) -> F,
) -> anyhow::Result<()>
where
    A: Args,
    F: Future<Output = anyhow::Result<()>>,
{
    let stop = observe::shutdown_signal();
    let telemetry = observe::init(service, &part.observe)?;
    let result = run(part.part, stop).await;
    if let Err(error) = &result {
        tracing::error!(exception.message = format!("{error:#}"), "{service} failed: {error:#}");
    }
    telemetry.shutdown().await;
    result
}

/// The collector is where its own telemetry goes, so it flushes that first, while it still receives.
pub(crate) async fn collector(part: Part<collector::Args>) -> anyhow::Result<()> {
    let signal = observe::shutdown_signal();
    let telemetry = observe::init("collector", &part.observe)?;
    let stop = CancellationToken::new();
    let mut serving = tokio::spawn(collector::run(part.part, stop.clone()));
    tokio::select! {
        () = signal.cancelled() => {}
        // It could not start or gave up: nobody receives what we would say of it, so the caller gets the error.
        result = &mut serving => return result?,
    }
    telemetry.shutdown().await;
    stop.cancel();
    serving.await?
}
