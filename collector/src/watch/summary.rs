//! One line a minute in the log, however much arrives.

use std::sync::Arc;
use std::time::Duration;

use model::Signal;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Counts, Outcome};
use crate::collector::Collector;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

pub(crate) async fn summarize(collector: Arc<Collector>, stop: CancellationToken) {
    let unwritten = || {
        let store = collector.writer.status();
        (store.unwritten_bytes, store.unwritten_bytes_max)
    };
    a_line_a_minute(&collector.counts, unwritten, stop).await;
}

/// `unwritten`: bytes that wait, and how many may.
async fn a_line_a_minute(counts: &Counts, unwritten: impl Fn() -> (u64, u64), stop: CancellationToken) {
    let mut clock = tokio::time::interval(INTERVAL);
    clock.tick().await; // the first tick is now
    let mut before = Summary::default();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            _ = stop.cancelled() => return,
        }
        let now = Summary::of(counts);
        let (bytes, bytes_max) = unwritten();
        info!(
            items.spans = now.spans - before.spans,
            items.logs = now.logs - before.logs,
            items.points = now.points - before.points,
            requests.refused = now.refused - before.refused,
            requests.denied = now.denied - before.denied,
            requests.invalid = now.invalid - before.invalid,
            queue.bytes = bytes,
            "kept {} spans, {} log records and {} points in a minute; refused {} requests, denied {}, {} made no sense; \
             {bytes} of {bytes_max} bytes wait",
            now.spans - before.spans,
            now.logs - before.logs,
            now.points - before.points,
            now.refused - before.refused,
            now.denied - before.denied,
            now.invalid - before.invalid,
        );
        before = now;
    }
}

#[derive(Default)]
struct Summary {
    spans: u64,
    logs: u64,
    points: u64,
    refused: u64,
    denied: u64,
    invalid: u64,
}

impl Summary {
    fn of(counts: &Counts) -> Summary {
        Summary {
            spans: counts.items_accepted(Signal::Traces),
            logs: counts.items_accepted(Signal::Logs),
            points: counts.items_accepted(Signal::Metrics),
            refused: counts.requests_of_all(Outcome::Refused),
            denied: counts.requests_of_all(Outcome::Denied),
            invalid: counts.requests_of_all(Outcome::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::refusal::Refusal;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_minute_has_one_line_of_what_came_in_it() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _subscribed = tracing::subscriber::set_default(subscriber);
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let told = tokio::spawn({
            let (counts, stop) = (Arc::clone(&counts), stop.clone());
            async move { a_line_a_minute(&counts, || (7, 100), stop).await }
        });
        counts.accepted(Signal::Traces, 5, 1);
        counts.accepted(Signal::Traces, 2, 0);
        counts.accepted(Signal::Logs, 3, 0);
        counts.refused(Signal::Metrics, &Refusal::Broken);
        // The clock stands still but for these waits.
        tokio::time::sleep(INTERVAL - Duration::from_secs(1)).await;
        assert_eq!(written.lines(), Vec::<String>::new());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let lines = written.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let said = "kept 7 spans, 3 log records and 0 points in a minute; refused 0 requests, denied 0, 1 made no sense; \
                    7 of 100 bytes wait";
        assert!(lines[0].contains(said) && lines[0].contains("items.spans=7"), "{lines:?}");

        counts.accepted(Signal::Metrics, 4, 0);
        tokio::time::sleep(2 * INTERVAL).await;
        let lines = written.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].contains("kept 0 spans, 0 log records and 4 points"), "only what is new: {lines:?}");
        assert!(lines[2].contains("kept 0 spans, 0 log records and 0 points"), "{lines:?}");
        stop.cancel();
        told.await.expect("it does not panic");
    }
}
