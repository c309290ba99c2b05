//! Everything has a size; beyond it there is an answer.

use model::{Signal, Table};
use store::{Args, FullReason, StoreError, Writer};
use tokio::task::JoinSet;

use crate::{Store, now_ns, rows, until};

#[tokio::test]
async fn memory_is_counted_from_the_reservation_on() {
    let store = Store::open(|args| args.unwritten_bytes_max = 1000).await;
    let first = store.writer.reserve(Signal::Traces, 600).unwrap();
    let full = store.writer.reserve(Signal::Logs, 600).unwrap_err();
    assert_eq!(full.reason, FullReason::Memory);
    assert_eq!(full.to_string(), "too many rows wait to be written, retry in 1000 ms");
    drop(first);
    let second = store.writer.reserve(Signal::Logs, 600).unwrap();
    second.append(vec![rows::table(Table::Logs, &[(now_ns(), 1)])]).await.unwrap();
    let status = store.writer.status();
    assert_eq!((status.unwritten_bytes, status.signals[1].refused), (0, 1));
}

#[tokio::test]
async fn requests_are_counted_by_signal() {
    let store = Store::open(|args| args.unwritten_requests_max = 1).await;
    let _first = store.writer.reserve(Signal::Traces, 1).unwrap();
    assert_eq!(store.writer.reserve(Signal::Traces, 1).unwrap_err().reason, FullReason::Memory);
    assert!(store.writer.reserve(Signal::Logs, 1).is_ok());
}

#[tokio::test]
async fn the_log_has_a_size_on_disk_and_compaction_makes_room() {
    let store = Store::open(|args| {
        args.log_bytes_max = 100_000;
        args.segment_bytes_max = 50_000;
        args.segment_age_max_ms = 10;
        args.replaced_age_min_ms = 0;
        args.unwritten_bytes_max = 1 << 20;
    })
    .await;
    let full = store.writer.reserve(Signal::Traces, 100_000).unwrap_err();
    assert_eq!(full.reason, FullReason::Disk);
    store.append(vec![rows::spans(&[(now_ns(), 1)])]).await.unwrap();
    assert!(store.writer.status().log_bytes > 1000);
    until("deletion", || store.writer.status().log_bytes < 200).await;
    assert_eq!(store.ids(Table::Spans).await, [1]);
}

#[tokio::test]
async fn some_of_the_disk_stays_free() {
    let store = Store::open(|args| args.disk_free_bytes_min = u64::MAX).await;
    let full = store.writer.reserve(Signal::Traces, 1).unwrap_err();
    assert_eq!(full.to_string(), "the disk is full, retry in 5000 ms");
    let status = store.writer.status();
    assert_eq!((status.refusing.as_str(), status.signals[0].refused), ("the disk is full", 1));
    assert!(status.disk_free_bytes < u64::MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_keeps_what_it_had_and_refuses_the_rest() {
    let store = Store::open(|_| ()).await;
    let writer = store.writer.clone();
    let late = writer.reserve(Signal::Traces, 10).unwrap();
    let mut appends = JoinSet::new();
    for id in 0..200 {
        let place = writer.reserve(Signal::Traces, 10).unwrap();
        appends.spawn(async move { (id, place.append(vec![rows::spans(&[(now_ns(), id)])]).await) });
    }
    let folder = store.close().await;
    let error = late.append(vec![rows::spans(&[(now_ns(), 999)])]).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed));
    assert_eq!(writer.reserve(Signal::Traces, 1).unwrap_err().reason, FullReason::Closed);
    writer.close().await.unwrap();

    let ids = Store::open_in(folder, |_| ()).await.ids(Table::Spans).await;
    for (id, result) in appends.join_all().await {
        match result {
            Ok(()) => assert!(ids.contains(&id), "{id} was answered"),
            Err(error) => assert!(matches!(error, StoreError::Closed) && !ids.contains(&id), "{id} was refused"),
        }
    }
}

#[tokio::test]
async fn a_second_writer_is_told_who_holds_the_folder() {
    let store = Store::open(|_| ()).await;
    let error = Writer::open(Args::new(store.folder.path())).await.unwrap_err();
    let StoreError::Locked { path, pid } = &error else { panic!("{error}") };
    assert_eq!((path, pid), (&store.folder.path().join("telemetry"), &std::process::id().to_string()));
    let folder = store.close().await;
    Writer::open(Args::new(folder.path())).await.unwrap();
}
