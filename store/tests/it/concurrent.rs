//! A reader polls while rows are written, sealed, compacted, merged and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use model::Table;
use store::Snapshot;

use crate::{Store, now_ns, rows};

const ROWS_PER_REQUEST: u64 = 5;
const WRITERS: u64 = 4;
const REQUESTS_MIN: u64 = 300;
const MERGES_MIN: u64 = 2;

/// Rows by what the manifest and the log say, without opening a file.
fn count(snapshot: &Snapshot) -> u64 {
    let cold: u64 = snapshot.files.iter().map(|file| file.rows).sum();
    let hot: usize = snapshot.hot.iter().map(|rows| rows.num_rows()).sum();
    cold + hot as u64
}

/// Writes until enough was merged; meanwhile `look` judges snapshots. It gets what was answered before the snapshot was
/// asked for, and what was begun by the time it came.
async fn race(store: Store, look: impl Fn(&Snapshot, u64, u64)) {
    let store = Arc::new(store);
    let (begun, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let running = Arc::new(AtomicU64::new(WRITERS));
    let failed = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, begun, answered) = (Arc::clone(&store), Arc::clone(&begun), Arc::clone(&answered));
            let (running, failed) = (Arc::clone(&running), Arc::clone(&failed));
            tokio::spawn(async move {
                while !failed.load(SeqCst)
                    && (answered.load(SeqCst) < REQUESTS_MIN * ROWS_PER_REQUEST
                        || store.writer.status().merges < MERGES_MIN)
                {
                    let first = begun.fetch_add(ROWS_PER_REQUEST, SeqCst);
                    let spans: Vec<_> = (first..first + ROWS_PER_REQUEST).map(|id| (now_ns(), id)).collect();
                    store.append(vec![rows::spans(&spans)]).await.unwrap();
                    answered.fetch_add(ROWS_PER_REQUEST, SeqCst);
                }
                running.fetch_sub(1, SeqCst);
            })
        })
        .collect();
    let mut seen = 0;
    while running.load(SeqCst) > 0 {
        let before = answered.load(SeqCst);
        let snapshot = store.snapshot(Table::Spans).await;
        let now = count(&snapshot);
        let fine = now >= before.max(seen) && now <= begun.load(SeqCst);
        failed.store(!fine, SeqCst);
        assert!(fine, "saw {now} after {seen}, answered {before}, begun {}", begun.load(SeqCst));
        look(&snapshot, before, begun.load(SeqCst));
        seen = now;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(count(&store.snapshot(Table::Spans).await), answered.load(SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_seen_once_while_files_come_and_go() {
    let store = Store::open(|args| args.segment_age_max_ms = 50).await;
    race(store, |snapshot, _, begun| {
        let ids = rows::ids_of(snapshot);
        assert_eq!(ids.len() as u64, count(snapshot));
        assert!(ids.is_sorted_by(|a, b| a < b), "a row twice");
        assert!(ids.last().is_none_or(|id| *id < begun));
        let requests: Vec<u64> = ids.iter().map(|id| id / ROWS_PER_REQUEST).collect();
        assert!(requests.chunk_by(|a, b| a == b).all(|rows| rows.len() as u64 == ROWS_PER_REQUEST), "half a request");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_never_fails_when_files_are_deleted_at_once() {
    let store = Store::open(|args| {
        args.segment_age_max_ms = 1;
        args.replaced_age_min_ms = 0;
    })
    .await;
    race(store, |_, _, _| ()).await;
}
