//! Files that are not as they were left.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use model::{Signal, Table};
use store::{Args, Reader, StoreError, Writer};

use crate::{Store, now_ns, rows, segments, until};

/// A folder with one segment of spans, one frame for each id below `frames`.
async fn folder(frames: u64) -> tempfile::TempDir {
    let store = Store::open(|_| ()).await;
    for id in 0..frames {
        store.append(vec![rows::spans(&[(now_ns(), id)])]).await.unwrap();
    }
    store.close().await
}

#[tokio::test]
async fn a_torn_tail_is_cut() {
    let folder = folder(3).await;
    let segment = segments(folder.path(), Signal::Traces).pop().unwrap();
    let whole = fs::metadata(&segment).unwrap().len();
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(&[0x46; 100]).unwrap();
    // Nothing is compacted meanwhile.
    let writer = Writer::open(Args::new(folder.path())).await.unwrap();
    let snapshot = Reader::open(folder.path()).unwrap().snapshot(Table::Spans).await.unwrap();
    assert_eq!(rows::ids_of(&snapshot), [0, 1, 2]);
    assert_eq!(fs::metadata(&segment).unwrap().len(), whole);
    assert!(writer.status().damaged.is_empty());

    writer.close().await.unwrap();
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(whole - 1).unwrap();
    // It was sealed by the start above: now a missing byte is damage.
    let store = Store::open_in(folder, |args| args.segment_age_max_ms = 10).await;
    assert_eq!(store.ids(Table::Spans).await, [0, 1]);
    until("a report", || !store.writer.status().damaged.is_empty()).await;
    assert_eq!(store.ids(Table::Spans).await, [0, 1]);
}

#[tokio::test]
async fn a_flipped_bit_costs_one_frame_and_is_reported() {
    let folder = folder(3).await;
    let segment = segments(folder.path(), Signal::Traces).pop().unwrap();
    let length = fs::metadata(&segment).unwrap().len();
    let file = OpenOptions::new().read(true).write(true).open(&segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, length / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 4], length / 2).unwrap();

    let store = Store::open_in(folder, |_| ()).await;
    let [damage] = &store.writer.status().damaged[..] else { panic!("{:?}", store.writer.status()) };
    assert!(damage.contains(&segment.display().to_string()) && damage.contains("is damaged"), "{damage}");
    assert!(segment.with_extension("log.damaged").exists());
    assert_eq!(store.ids(Table::Spans).await, [0, 2]);
    until("compaction", || store.writer.status().file_rows == 2).await;
    assert_eq!(store.ids(Table::Spans).await, [0, 2]);
    assert_eq!(store.writer.status().damaged.len(), 1, "{:?}", store.writer.status().damaged);

    let folder = store.close().await;
    let store = Store::open_in(folder, |_| ()).await;
    assert_eq!(store.writer.status().damaged.len(), 1, "somebody still has to look");
}

#[tokio::test]
async fn a_manifest_that_makes_no_sense_deletes_nothing() {
    let folder = folder(1).await;
    let manifest = folder.path().join("telemetry/manifest.json");
    let good = fs::read(&manifest).unwrap();
    let before = segments(folder.path(), Signal::Traces);
    let digit = good.windows(9).position(|bytes| bytes == b"\"number\":").unwrap() + 9;
    let mut other = good.clone();
    other[digit] ^= 1;
    let broken = [Some(&good[..good.len() / 2]), Some(b"{\"format\":9}".as_slice()), Some(&other), None];
    for content in broken {
        match content {
            Some(bytes) => fs::write(&manifest, bytes).unwrap(),
            None => fs::remove_file(&manifest).unwrap(),
        }
        let error = Writer::open(Args::new(folder.path())).await.unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == manifest), "{error}");
    }
    assert_eq!(segments(folder.path(), Signal::Traces), before);
    fs::write(&manifest, good).unwrap();
    assert_eq!(Store::open_in(folder, |_| ()).await.ids(Table::Spans).await, [0]);
}

#[tokio::test]
async fn files_no_manifest_names_are_removed_and_foreign_ones_are_not() {
    let folder = folder(1).await;
    let hour = folder.path().join("telemetry/spans/date=2026-11-30/hour=08");
    fs::create_dir_all(&hour).unwrap();
    let orphans = [hour.join("x.parquet"), hour.join("y.parquet.tmp"), folder.path().join("telemetry/log/logs/99.log")];
    let foreign = hour.join("NOTES.txt");
    for path in orphans.iter().chain([&foreign]) {
        fs::write(path, b"left behind").unwrap();
    }
    let store = Store::open_in(folder, |_| ()).await;
    assert!(orphans.iter().all(|path| !path.exists()));
    assert!(foreign.exists());
    assert_eq!(store.ids(Table::Spans).await, [0]);
}
