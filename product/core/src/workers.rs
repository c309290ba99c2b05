//! Work that costs a core, on a bounded number of threads.
//!
//! So many at a time, so many waiting, so long; whoever comes after that is told to retry. Without it a flood of
//! expensive requests would take the machine from all the cheap ones.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::{Counter, UpDownCounter};
use opentelemetry::{KeyValue, global};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{Instrument, Span};

/// Longer than a full queue takes on two cores, shorter than people wait.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("too much of this work waits already")]
    Busy,
    #[error("the work ended in a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

#[derive(Clone)]
pub(crate) struct Workers {
    threads: Arc<Semaphore>,
    places: Arc<Semaphore>,
    waiting: UpDownCounter<i64>,
    refused: Counter<u64>,
    pool: &'static str,
}

impl Workers {
    /// `pool` is what its metrics are called by.
    pub(crate) fn new(pool: &'static str, threads: usize, waiting_max: usize) -> Workers {
        let (threads, waiting_max) = (threads.max(1), waiting_max.max(1));
        let meter = global::meter("product-core");
        let limits = [
            ("worker_pool.threads.limit", "{thread}", threads, "Pieces of work done at the same time."),
            ("worker_pool.waiting.limit", "{request}", waiting_max, "Places to wait for a thread."),
        ];
        for (name, unit, limit, description) in limits {
            let gauge = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
            gauge
                .with_callback(move |gauge| gauge.observe(limit as u64, &[KeyValue::new("worker_pool.name", pool)]))
                .build();
        }
        Workers {
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(waiting_max)),
            waiting: meter
                .i64_up_down_counter("worker_pool.waiting")
                .with_unit("{request}")
                .with_description("Requests that wait for a thread, by pool.")
                .build(),
            refused: meter
                .u64_counter("worker_pool.refused")
                .with_unit("{request}")
                .with_description("Requests turned away because too many waited or one waited too long, by pool.")
                .build(),
            pool,
        }
    }

    /// Does `work` inside `span` on a thread of its own.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        span: Span,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let permit =
            self.admit().instrument(tracing::info_span!("wait for a worker", worker_pool.name = self.pool)).await?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit; // Held to the end of the work, even if the request is gone by then.
            span.in_scope(work)
        });
        Ok(done.await?)
    }

    async fn admit(&self) -> Result<OwnedSemaphorePermit, WorkError> {
        let refused = || {
            self.refused.add(1, &[KeyValue::new("worker_pool.name", self.pool)]);
            WorkError::Busy
        };
        let _place = self.places.try_acquire().map_err(|_full| refused())?;
        let _counted = Counted::one(&self.waiting, self.pool);
        match timeout(WAIT_MAX, self.threads.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed; if it were, nobody would get in either.
            Ok(Err(_)) | Err(_) => Err(refused()),
        }
    }
}

/// One more while it lives.
struct Counted<'a>(&'a UpDownCounter<i64>, [KeyValue; 1]);

impl<'a> Counted<'a> {
    fn one(counter: &'a UpDownCounter<i64>, pool: &'static str) -> Self {
        let pool = [KeyValue::new("worker_pool.name", pool)];
        counter.add(1, &pool);
        Self(counter, pool)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.add(-1, &self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let workers = Workers::new("test", 1, 1);
        let thread = workers.threads.clone().acquire_owned().await.unwrap();
        let mut waiting = std::pin::pin!(workers.admit());
        assert!(polled_once(waiting.as_mut()).await.is_none(), "the first waits for the thread");
        assert!(matches!(workers.admit().await, Err(WorkError::Busy)), "there is one place to wait");
        drop(thread);
        drop(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let workers = Workers::new("test", 1, 1);
        let _thread = workers.threads.clone().acquire_owned().await.unwrap();
        assert!(matches!(workers.admit().await, Err(WorkError::Busy)));
    }

    async fn polled_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
