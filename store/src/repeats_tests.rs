//! The same request twice: once in the store, whatever happens in between.

use std::path::Path;
use std::time::Duration;

use model::{Signal, Table};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::faults::plan::Act;
use crate::faults::{Faults, Step};
use crate::maintenance::Worked;
use crate::rows::{ids_of, spans};
use crate::{Args, Digest, Filled, Kept, Reader, Repeats, StoreError, Writer, layout};

struct Store {
    writer: Writer,
    faults: Faults,
    folder: TempDir,
}

fn args(folder: &Path) -> Args {
    let repeats = Repeats { window: Duration::from_secs(600), requests_max: 100 };
    Args { repeats: Some(repeats), segment_age_max_ms: 3_600_000, replaced_age_min_ms: 0, ..Args::new(folder) }
}

impl Store {
    async fn open() -> Store {
        Store::within(tempfile::tempdir().unwrap(), |_| {}).await
    }

    async fn within(folder: TempDir, change: impl FnOnce(&mut Args)) -> Store {
        let faults = Faults::default();
        let mut args = args(folder.path());
        change(&mut args);
        let writer = Writer::open_with(args, faults.clone()).await.unwrap();
        Store { writer, faults, folder }
    }

    /// A request with one span; its number is what it is made of.
    async fn append(&self, request: u8) -> Result<Kept, StoreError> {
        self.filled(request).append().await
    }

    fn filled(&self, request: u8) -> Filled {
        let rows = vec![spans(&[(layout::now_ns(), u64::from(request))])];
        let filled = self.writer.reserve(Signal::Traces, 100).unwrap().fill(rows).unwrap();
        filled.once(Digest([request; 16]))
    }

    async fn rows(&self) -> Vec<u64> {
        let mut ids = ids_of(&Reader::open(self.folder.path()).unwrap().snapshot(Table::Spans).await.unwrap());
        ids.sort_unstable();
        ids
    }

    /// Leaves the folder as a process that dies does: nothing is sealed.
    async fn die(self) -> TempDir {
        self.writer.close().await.unwrap();
        self.folder
    }

    async fn reopened(self) -> Store {
        Store::within(self.die().await, |_| {}).await
    }

    fn known(&self) -> u64 {
        self.writer.status().signals[Signal::Traces as usize].known_requests
    }
}

#[tokio::test]
async fn a_request_is_kept_once() {
    let store = Store::open().await;
    assert_eq!(store.append(1).await.unwrap(), Kept::Now);
    assert_eq!(store.append(2).await.unwrap(), Kept::Now);
    assert_eq!(store.append(1).await.unwrap(), Kept::Before);
    assert_eq!((store.rows().await, store.known()), (vec![1, 2], 2));

    let many = (0..50).map(|number| store.filled(10 + number % 5)).collect::<Vec<_>>();
    let many = many.into_iter().map(|filled| tokio::spawn(filled.append())).collect::<Vec<_>>();
    let (mut now, mut before) = (0, 0);
    for one in many {
        match one.await.unwrap().unwrap() {
            Kept::Now => now += 1,
            Kept::Before => before += 1,
        }
    }
    assert_eq!((now, before), (5, 45), "also within one group");
    assert_eq!(store.rows().await, [1, 2, 10, 11, 12, 13, 14]);
}

#[tokio::test]
async fn it_is_known_after_a_restart_from_the_log_and_from_beside_it() {
    let store = Store::open().await;
    store.append(1).await.unwrap();
    let store = store.reopened().await;
    assert_eq!(store.append(1).await.unwrap(), Kept::Before, "its segment was never sealed");
    store.append(2).await.unwrap();
    let store = store.reopened().await;
    // Both segments are sealed now, and leave.
    while store.writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
    assert_eq!((store.append(1).await.unwrap(), store.append(2).await.unwrap()), (Kept::Before, Kept::Before));
    let store = store.reopened().await;
    assert_eq!((store.append(1).await.unwrap(), store.append(2).await.unwrap()), (Kept::Before, Kept::Before));
    assert_eq!(store.rows().await, [1, 2]);
}

#[tokio::test]
async fn a_segment_sealed_while_it_runs_takes_no_digest_along() {
    let folder = tempfile::tempdir().unwrap();
    // Each frame fills a segment.
    let store = Store::within(folder, |args| args.segment_bytes_max = 1).await;
    for request in 0..10 {
        assert_eq!(store.append(request).await.unwrap(), Kept::Now);
    }
    while store.writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
    let store = store.reopened().await;
    for request in 0..10 {
        assert_eq!(store.append(request).await.unwrap(), Kept::Before, "{request}");
    }
    assert_eq!(store.rows().await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_failed_is_not_known() {
    for step in [Step::WriteFrame, Step::SyncFrame] {
        let store = Store::open().await;
        store.faults.set(step, 0, Act::Fail);
        store.append(1).await.unwrap_err();
        assert_eq!(store.append(1).await.unwrap(), Kept::Now, "{step:?}");
        assert_eq!(store.append(1).await.unwrap(), Kept::Before);
        assert_eq!(store.rows().await, [1]);
    }
}

#[tokio::test]
async fn a_segment_is_not_sealed_before_its_digests_are_safe() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::within(folder, |args| args.segment_bytes_max = 1).await;
    store.faults.set(Step::SaveRepeats, 0, Act::Fail);
    assert_eq!(store.append(1).await.unwrap(), Kept::Now);
    assert_eq!(store.append(1).await.unwrap(), Kept::Before, "the segment goes on");
    let store = store.reopened().await;
    assert_eq!(store.append(1).await.unwrap(), Kept::Before);
    assert_eq!(store.rows().await, [1]);
}

#[tokio::test]
async fn the_oldest_are_forgotten_beyond_the_limit_and_after_the_window() {
    let store = Store::within(tempfile::tempdir().unwrap(), |args| {
        args.repeats = Some(Repeats { window: Duration::from_secs(600), requests_max: 2 });
    });
    let store = store.await;
    for request in 1..=3 {
        store.append(request).await.unwrap();
    }
    assert_eq!((store.known(), store.append(1).await.unwrap()), (2, Kept::Now), "the third took its place");

    let folder = store.die().await;
    let window = |window| move |args: &mut Args| args.repeats = Some(Repeats { window, requests_max: 100 });
    let store = Store::within(folder, window(Duration::ZERO)).await;
    assert_eq!(store.append(1).await.unwrap(), Kept::Now, "no time has passed, and that is all there is");
}

#[tokio::test]
async fn a_damaged_file_is_said_and_keeps_nobody_out() {
    let store = Store::open().await;
    store.append(1).await.unwrap();
    let folder = store.reopened().await.die().await;
    std::fs::write(folder.path().join("telemetry/repeats/traces"), "not ours").unwrap();
    let store = Store::within(folder, |_| {}).await;
    let damaged = store.writer.status().damaged;
    assert!(damaged.iter().any(|said| said.contains("repeats/traces cannot be read")), "{damaged:?}");
    assert_eq!(store.append(1).await.unwrap(), Kept::Now);
    assert_eq!(store.append(1).await.unwrap(), Kept::Before);
}

#[tokio::test]
async fn nobody_is_asked_what_it_is_unless_repeats_are_refused() {
    let store = Store::within(tempfile::tempdir().unwrap(), |args| args.repeats = None).await;
    assert_eq!((store.append(1).await.unwrap(), store.append(1).await.unwrap()), (Kept::Now, Kept::Now));
    assert_eq!((store.rows().await, store.known()), (vec![1, 1], 0));
}
