//! A far end that keeps copies has every row once at any moment: whatever was merged meanwhile, wherever it was interrupted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use model::{Signal, Table};
use tokio_util::sync::CancellationToken;

use crate::elsewhere::Copy;
use crate::faults::Faults;
use crate::faults::Step;
use crate::faults::plan::Act;
use crate::layout::{HOUR_NS, now_ns};
use crate::maintenance::Worked;
use crate::rows::{self, ids};
use crate::{Args, Errand, Piece, Shelf, Shipment, Terms, Writer};

const AT_ONCE: Terms = Terms { age_min: Duration::ZERO, replaced_age_min: Duration::ZERO };

/// Objects by name, and what their listings name.
#[derive(Default)]
struct Far {
    objects: BTreeMap<String, Vec<u64>>,
    listed: BTreeSet<String>,
}

impl Far {
    fn put(&mut self, piece: &Piece) {
        self.objects.insert(piece.name.clone(), ids_of_file(&piece.file.path));
    }

    fn list(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            self.listed.retain(|name| !piece.replaces.contains(name));
            self.listed.insert(piece.name.clone());
        }
        let listed: Vec<u64> = self.rows();
        let distinct: HashSet<&u64> = listed.iter().collect();
        assert_eq!(listed.len(), distinct.len(), "a row twice: {:?}", self.listed);
    }

    fn rows(&self) -> Vec<u64> {
        let mut rows: Vec<u64> = self.listed.iter().flat_map(|name| self.objects[name].clone()).collect();
        rows.sort_unstable();
        rows
    }

    fn delete(&mut self, names: &[String]) {
        for name in names {
            assert!(!self.listed.contains(name), "{name} is still listed");
            self.objects.remove(name);
        }
    }
}

fn ids_of_file(path: &Path) -> Vec<u64> {
    let file = std::fs::File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().flat_map(|batch| ids(&batch.unwrap())).collect()
}

struct Store {
    folder: tempfile::TempDir,
    writer: Writer,
    shelf: Shelf,
    faults: Faults,
    next_id: u64,
}

impl Store {
    async fn open() -> Store {
        Self::within(tempfile::tempdir().unwrap(), 0).await
    }

    async fn within(folder: tempfile::TempDir, next_id: u64) -> Store {
        // A segment a request; a file that was replaced stays for who is about to copy it.
        let args = Args { segment_bytes_max: 1, replaced_age_min_ms: 60_000, ..Args::new(folder.path()) };
        let faults = Faults::default();
        let writer = Writer::open_with(args, faults.clone()).await.unwrap();
        let shelf = writer.shelf("far", Signal::Traces);
        Store { folder, writer, shelf, faults, next_id }
    }

    /// As after a kill: nothing of what is in memory is left.
    async fn restart(self) -> Store {
        self.writer.close().await.unwrap();
        drop((self.shelf, self.writer));
        Self::within(self.folder, self.next_id).await
    }

    /// One file of this hour.
    async fn file(&mut self) {
        let sealed = || self.writer.status().signals[0].segments_sealed;
        let row = (now_ns() / HOUR_NS * HOUR_NS, self.next_id);
        let batch = rows::table(Table::Spans, &[row]);
        self.writer.reserve(Signal::Traces, 100).unwrap().append(vec![batch]).await.unwrap();
        while sealed() == 0 {
            tokio::task::yield_now().await;
        }
        self.next_id += 1;
        while self.writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
    }

    async fn errand(&self) -> Option<Errand> {
        self.shelf.look(&AT_ONCE).await.unwrap()
    }

    async fn shipment(&self) -> Option<Shipment> {
        match self.errand().await {
            Some(Errand::Copy(shipment)) => Some(shipment),
            Some(Errand::Delete(_)) | None => None,
        }
    }

    /// Until there is nothing left to do.
    async fn settle(&self, far: &mut Far) {
        while let Some(errand) = self.errand().await {
            match errand {
                Errand::Copy(shipment) => {
                    shipment.pieces.iter().for_each(|piece| far.put(piece));
                    far.list(&shipment.pieces);
                    self.shelf.copied(shipment.pieces).await.unwrap();
                }
                Errand::Delete(names) => {
                    far.delete(&names);
                    self.shelf.deleted(names).await.unwrap();
                }
            }
        }
    }

    fn everything(&self) -> Vec<u64> {
        (0..self.next_id).collect()
    }
}

#[tokio::test]
async fn a_merged_file_takes_the_place_of_its_copies() {
    let (mut store, mut far) = (Store::open().await, Far::default());
    for _ in 0..3 {
        store.file().await;
    }
    store.settle(&mut far).await;
    assert_eq!((far.listed.len(), far.rows()), (3, store.everything()));
    for _ in 3..8 {
        store.file().await;
    }
    assert_eq!(store.writer.status().files, 1, "eight become one");
    assert_eq!(store.writer.status().cursors[0].rows, 8);
    store.settle(&mut far).await;
    assert_eq!((far.listed.len(), far.objects.len(), far.rows()), (1, 1, store.everything()));
    assert_eq!(store.writer.status().cursors[0].rows, 0);
}

/// Interrupted at every point of a shipment, three times, with merges in between.
#[tokio::test]
async fn wherever_it_is_interrupted_every_row_is_there_once() {
    for done in 0..=3 {
        for merged in [false, true] {
            interrupted(done, merged).await;
        }
    }
}

/// After this many steps of: put, listed, told.
async fn interrupted(done: usize, merged: bool) {
    let (mut store, mut far) = (Store::open().await, Far::default());
    for _ in 0..2 {
        store.file().await;
        store.settle(&mut far).await;
    }
    for round in 0..3 {
        for _ in 0..3 {
            store.file().await;
        }
        let shipment = store.shipment().await.unwrap();
        if done >= 1 {
            shipment.pieces.iter().for_each(|piece| far.put(piece));
        }
        // The eighth file merges all of them behind the back of who copies.
        for _ in 0..if merged { 3 } else { 0 } {
            store.file().await;
        }
        if done >= 2 {
            far.list(&shipment.pieces);
        }
        if done >= 3 {
            store.shelf.copied(shipment.pieces).await.unwrap();
        }
        store = store.restart().await;
        if round > 0 {
            store.settle(&mut far).await;
            assert_eq!(far.rows(), store.everything(), "{done} steps, {merged}");
            assert_eq!(far.objects.len(), far.listed.len(), "what was replaced is deleted");
        }
    }
}

#[tokio::test]
async fn what_could_not_be_written_down_is_done_again() {
    let (mut store, mut far) = (Store::open().await, Far::default());
    store.file().await;
    store.faults.set(Step::WriteManifest, 0, Act::Fail);
    assert!(store.shelf.next(&AT_ONCE).await.is_err());
    let shipment = store.shipment().await.unwrap();
    shipment.pieces.iter().for_each(|piece| far.put(piece));
    far.list(&shipment.pieces);
    store.faults.set(Step::RenameManifest, 0, Act::Fail);
    assert!(store.shelf.copied(shipment.pieces.clone()).await.is_err());
    assert_eq!(store.shipment().await, Some(shipment));
    store.settle(&mut far).await;
    assert_eq!(far.rows(), store.everything());
}

#[tokio::test]
async fn a_file_that_would_leave_the_disk_is_copied_before_its_time_and_leaves_then() {
    let folder = tempfile::tempdir().unwrap();
    let args = Args { segment_bytes_max: 1, retention_bytes: Some(0), ..Args::new(folder.path()) };
    let writer = Writer::open_with(args, Faults::default()).await.unwrap();
    let shelf = writer.shelf("far", Signal::Traces);
    let mut store = Store { folder, writer, shelf, faults: Faults::default(), next_id: 0 };
    store.file().await;
    assert_eq!(store.writer.status().files, 1, "it stays for the copy");
    let never = Terms { age_min: Duration::MAX, replaced_age_min: Duration::MAX };
    let Errand::Copy(shipment) = store.shelf.next(&never).await.unwrap() else { panic!("nothing is replaced") };
    store.shelf.copied(shipment.pieces).await.unwrap();
    while store.writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
    let status = store.writer.status();
    assert_eq!((status.files, status.expired_rows, status.cursors[0].lost_rows), (0, 1, 0));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_holds_up_nobody_and_is_told() {
    let mut store = Store::open().await;
    for _ in 0..3 {
        store.file().await;
    }
    let mut shipment = store.shipment().await.unwrap();
    let broken = shipment.pieces.remove(0);
    store.shelf.unreadable(&broken, &std::io::Error::other("a bad sector"));
    assert_eq!(store.shipment().await, Some(shipment.clone()));
    store.shelf.copied(shipment.pieces).await.unwrap();
    assert_eq!(store.shipment().await, None);
    let status = store.writer.status();
    assert_eq!((status.damaged.len(), status.cursors[0].rows), (1, 1), "{:?}", status.damaged);
    let of_another_store = Piece { name: "merged meanwhile".to_owned(), ..broken };
    store.shelf.unreadable(&of_another_store, &std::io::ErrorKind::NotFound.into());
    assert_eq!(store.writer.status().damaged.len(), 1);
}

#[tokio::test]
async fn a_disk_that_is_short_lets_go_what_is_not_copied_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = Args { segment_bytes_max: 1, retention_bytes: Some(0), ..Args::new(folder.path()) };
    // Requests are taken above this, and there is never twice as much.
    args.disk_free_bytes_min = free_bytes(folder.path()) * 2 / 3;
    let writer = Writer::open_with(args, Faults::default()).await.unwrap();
    let shelf = writer.shelf("far", Signal::Traces);
    let mut store = Store { folder, writer, shelf, faults: Faults::default(), next_id: 0 };
    store.file().await;
    let status = store.writer.status();
    assert_eq!((status.files, status.expired_rows, status.cursors[0].lost_rows), (0, 1, 1));
}

fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map(|disk| disk.f_bavail * disk.f_frsize).unwrap()
}

#[tokio::test]
async fn days_and_tables_are_shipped_apart() {
    let store = Store::open().await;
    let now = now_ns();
    let metrics = store.writer.shelf("far", Signal::Metrics);
    let spans = rows::table(Table::Spans, &[(now, 1), (now - 30 * HOUR_NS, 2), (0, 3)]);
    store.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans]).await.unwrap();
    let points = vec![rows::table(Table::Metrics, &[(now, 4)]), rows::table(Table::MetricSummaries, &[(now, 5)])];
    store.writer.reserve(Signal::Metrics, 100).unwrap().append(points).await.unwrap();
    while store.writer.status().file_rows < 5 {
        store.writer.compact_once(&CancellationToken::new()).await.unwrap();
    }
    let mut listings = Vec::new();
    for (shelf, shipments) in [(&store.shelf, 3), (&metrics, 2)] {
        for _ in 0..shipments {
            let Errand::Copy(shipment) = shelf.next(&AT_ONCE).await.unwrap() else { panic!("nothing is replaced") };
            let day = shipment.listing.trim_end_matches("_files.json");
            assert!(shipment.pieces.iter().all(|piece| piece.name.starts_with(day)), "{shipment:?}");
            shelf.copied(shipment.pieces).await.unwrap();
            listings.push(shipment.listing);
        }
    }
    listings.sort_unstable();
    let distinct: BTreeSet<&String> = listings.iter().collect();
    assert_eq!(distinct.len(), 5, "{listings:?}");
    assert!(listings.contains(&"spans/date=quarantine/_files.json".to_owned()), "{listings:?}");
    let files = &store.writer.status();
    assert_eq!(files.cursors.iter().map(|lag| lag.rows).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_manifest_of_before_copies_is_read() {
    let old = r#"{"format":1,"version":3,"next_segment":9,"segments":[],"replaced":[],"files":[{"table":"spans",
        "path":"spans/date=2026-11-30/hour=08/1.parquet","rows":1,"bytes":2,"time_min":3,"time_max":4,"created_ms":5}]}"#;
    let manifest: crate::manifest::Manifest = serde_json::from_str(old).unwrap();
    assert_eq!(manifest.files[0].elsewhere.copy, Copy::None);
    assert!(!serde_json::to_string(&manifest.files).unwrap().contains("elsewhere"), "what is nowhere costs nothing");
}
