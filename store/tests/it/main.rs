//! The store through its public door: what is answered is seen, exactly once, by any process, whatever happens behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod cold;
mod concurrent;
mod damage;
mod limits;
mod rows;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Batch, Signal, Table};
use store::{Args, Reader, Snapshot, StoreError, Writer};
use tokio_util::sync::CancellationToken;

/// A writer and a reader of one folder, compaction running.
struct Store {
    folder: tempfile::TempDir,
    writer: Writer,
    reader: Reader,
    stop: CancellationToken,
}

impl Store {
    async fn open(change: impl FnOnce(&mut Args)) -> Store {
        Self::open_in(tempfile::tempdir().unwrap(), change).await
    }

    async fn open_in(folder: tempfile::TempDir, change: impl FnOnce(&mut Args)) -> Store {
        let mut args = Args::new(folder.path());
        change(&mut args);
        let writer = Writer::open(args).await.unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn({
            let (writer, stop) = (writer.clone(), stop.clone());
            async move { writer.compact(stop).await.unwrap() }
        });
        Store { folder, writer, reader, stop }
    }

    async fn append(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let signal = batches.first().map_or(Signal::Traces, |batch| batch.table().signal());
        self.writer.reserve(signal, 1000).unwrap().append(batches).await
    }

    async fn snapshot(&self, table: Table) -> Snapshot {
        self.reader.snapshot(table).await.unwrap()
    }

    async fn ids(&self, table: Table) -> Vec<u64> {
        rows::ids_of(&self.snapshot(table).await)
    }

    async fn close(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.writer.close().await.unwrap();
        self.folder
    }
}

/// Waits for a condition; fails when it does not come true in a minute.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn segments(folder: &Path, signal: Signal) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder.join("telemetry/log").join(signal.name())).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    paths
}

#[tokio::test]
async fn a_row_is_seen_as_soon_as_it_is_answered() {
    let store = Store::open(|_| ()).await;
    assert_eq!(store.ids(Table::Spans).await, [0; 0]);
    for id in 0..20 {
        store.append(vec![rows::spans(&[(now_ns(), id)])]).await.unwrap();
        assert_eq!(store.ids(Table::Spans).await, (0..=id).collect::<Vec<_>>());
    }
    let folder = store.close().await;
    let store = Store::open_in(folder, |_| ()).await;
    assert_eq!(store.ids(Table::Spans).await, (0..20).collect::<Vec<_>>(), "after a restart");
}

#[tokio::test]
async fn a_request_may_fill_every_table_of_its_signal() {
    let store = Store::open(|args| args.segment_bytes_max = 1).await;
    let tables = Signal::Metrics.tables();
    let batches = tables.iter().map(|table| rows::table(*table, &[(now_ns(), 7), (now_ns(), 8)])).collect();
    store.append(batches).await.unwrap();
    for table in tables {
        assert_eq!(store.ids(*table).await, [7, 8], "{}", table.name());
    }
    until("compaction", || store.writer.status().file_rows == 8).await;
    for table in tables {
        assert_eq!(store.ids(*table).await, [7, 8], "{}, compacted", table.name());
        assert!(store.snapshot(*table).await.hot.is_empty());
    }
    assert_eq!(store.ids(Table::Logs).await, [0; 0]);
}

#[tokio::test]
async fn rows_of_another_signal_are_refused() {
    let store = Store::open(|_| ()).await;
    let place = store.writer.reserve(Signal::Logs, 10).unwrap();
    let error = place.append(vec![rows::spans(&[(now_ns(), 1)])]).await.unwrap_err();
    assert_eq!(error.to_string(), "could not encode rows: rows of spans in a request of logs");
}

#[tokio::test]
async fn a_folder_without_a_manifest_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::open(&folder.path().join("not there")).unwrap();
    let snapshot = reader.snapshot(Table::Logs).await.unwrap();
    assert!(snapshot.files.is_empty() && snapshot.hot.is_empty());
}
