//! A fetch that waits for records.
//!
//! Tansu's own sleeps a part of the client's `max_wait_ms` and looks again, and sleeps it even when it has found something: with
//! Kafka's usual 500 ms each event would be late, with short waits each idle consumer asks fifty times a second. Here a
//! fetch is held back until there is something to read or the wait is over, and then tansu answers it at once.

use std::time::Duration;

use rama::{Context, Layer, Service};
use tansu_sans_io::{Body, FetchRequest, Frame};
use tansu_storage::{Storage as _, Topition};
use tokio::time;

use super::storage::Memory;

/// No client is kept waiting for longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct WaitingFetch(pub(super) Memory);

impl<S> Layer<S> for WaitingFetch {
    type Service = WaitingFetchService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WaitingFetchService { storage: self.0.clone(), inner }
    }
}

pub(super) struct WaitingFetchService<S> {
    storage: Memory,
    inner: S,
}

impl<S> Service<(), Frame> for WaitingFetchService<S>
where
    S: Service<(), Frame>,
{
    type Response = S::Response;
    type Error = S::Error;

    async fn serve(&self, context: Context<()>, mut request: Frame) -> Result<S::Response, S::Error> {
        if let Body::FetchRequest(fetch) = &mut request.body {
            let wait = Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or_default()).min(WAIT_MAX);
            if fetch.min_bytes > 0 {
                let wanted = self.wanted(fetch).await;
                // The end of the wait is an answer too: nothing new.
                let _ = time::timeout(wait, self.storage.readable(&wanted)).await;
            }
            fetch.max_wait_ms = 0;
        }
        self.inner.serve(context, request).await
    }
}

impl<S> WaitingFetchService<S> {
    /// Partitions asked for and from which offset on. Newer clients name topics by id; unknown ones are left to tansu.
    async fn wanted(&self, fetch: &FetchRequest) -> Vec<(Topition, i64)> {
        let mut wanted = Vec::new();
        for topic in fetch.topics.iter().flatten() {
            let Ok(metadata) = self.storage.metadata(Some(&[topic.into()])).await else { continue };
            let Some(name) = metadata.topics().first().and_then(|topic| topic.name.as_deref()) else { continue };
            let partitions = topic.partitions.iter().flatten();
            wanted.extend(partitions.map(|asked| (Topition::new(name, asked.partition), asked.fetch_offset)));
        }
        wanted
    }
}
