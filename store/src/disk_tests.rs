//! What happens when the disk says no, at each place it can.

use std::path::Path;

use arrow::array::{Array, AsArray};
use model::{Signal, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader, RowGroupMetaData};
use tokio_util::sync::CancellationToken;

use crate::faults::plan::Act;
use crate::faults::{Faults, Step};
use crate::layout::{HOUR_NS, now_ns};
use crate::maintenance::Worked;
use crate::manifest;
use crate::order::BATCH_ROWS;
use crate::rows::{ids_of, spans};
use crate::{Args, FullReason, Reader, StoreError, Writer};

struct Store {
    folder: tempfile::TempDir,
    faults: Faults,
    writer: Writer,
    reader: Reader,
}

impl Store {
    async fn open() -> Store {
        Self::open_with(|_| ()).await
    }

    async fn open_with(change: impl FnOnce(&mut Args)) -> Store {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let mut args = args(folder.path());
        change(&mut args);
        let writer = Writer::open_with(args, faults.clone()).await.unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        Store { folder, faults, writer, reader }
    }

    async fn append(&self, id: u64) -> Result<(), StoreError> {
        self.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans(&[(this_hour_ns(), id)])]).await
    }

    /// Also waits for the segment to be sealed, which comes after the answer.
    async fn append_and_seal(&self, id: u64) {
        let sealed = || self.writer.status().signals[0].segments_sealed;
        let before = sealed();
        self.append(id).await.unwrap();
        while sealed() == before {
            tokio::task::yield_now().await;
        }
    }

    async fn ids(&self) -> Vec<u64> {
        ids_of(&self.reader.snapshot(Table::Spans).await.unwrap())
    }

    async fn compact(&self) -> Result<(), StoreError> {
        while self.writer.compact_once(&CancellationToken::new()).await? == Worked::Yes {}
        Ok(())
    }

    /// Kills the process, as far as the files can tell, and starts it again.
    async fn restart(self) -> Store {
        let Store { folder, writer, reader, .. } = self;
        writer.close().await.unwrap();
        let faults = Faults::default();
        let writer = Writer::open_with(args(folder.path()), faults.clone()).await.unwrap();
        Store { folder, faults, writer, reader }
    }
}

/// A segment per request: sealed as soon as it has a frame.
fn args(folder: &Path) -> Args {
    Args { segment_bytes_max: 1, replaced_age_min_ms: 0, ..Args::new(folder) }
}

/// Rows of one hour make one file, whenever the test runs.
fn this_hour_ns() -> i64 {
    now_ns() / HOUR_NS * HOUR_NS
}

#[tokio::test]
async fn a_failed_write_or_fsync_is_said_and_costs_only_its_request() {
    for step in [Step::WriteFrame, Step::SyncFrame] {
        let store = Store::open().await;
        store.append(1).await.unwrap();
        store.faults.set(step, 0, Act::Fail);
        let error = store.append(2).await.unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
        store.append(3).await.unwrap();
        assert_eq!(store.ids().await, [1, 3], "{step:?}");
        assert!(store.writer.status().last_error.contains("could not append to log/traces/"));
        let store = store.restart().await;
        assert_eq!(store.ids().await, [1, 3], "{step:?} and a restart");
        store.compact().await.unwrap();
        assert_eq!(store.ids().await, [1, 3], "{step:?} and compaction");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_costs_only_its_request() {
    let store = Store::open_with(|args| args.segment_bytes_max = 1 << 20).await;
    store.append(1).await.unwrap();
    let segments = || std::fs::read_dir(store.folder.path().join("telemetry/log/traces")).unwrap().count();
    for id in [10, 11] {
        store.faults.set(Step::WriteFrame, 0, Act::Fill);
        store.append(id).await.unwrap_err();
        let full = store.writer.reserve(Signal::Logs, 1).unwrap_err();
        assert_eq!((full.reason, full.retry_after.as_secs()), (FullReason::DiskFull, 5));
        assert_eq!(store.writer.status().refusing, "the disk is full");
        // Until it is measured again.
        while store.writer.reserve(Signal::Traces, 1).is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.writer.status().refusing, "");
    }
    store.append(2).await.unwrap();
    assert_eq!(segments(), 1, "the segment goes on");
    assert_eq!(store.ids().await, [1, 2]);
    let store = store.restart().await;
    assert_eq!(store.ids().await, [1, 2]);
}

#[tokio::test]
async fn a_full_disk_under_compaction_changes_nothing() {
    for step in [Step::WriteFile, Step::SwapFiles, Step::WriteManifest] {
        let store = Store::open().await;
        store.append_and_seal(1).await;
        store.faults.set(step, 0, Act::Fill);
        assert!(store.compact().await.unwrap_err().is_disk_full(), "{step:?}");
        assert_eq!(store.ids().await, [1], "{step:?}");
        store.append(2).await.unwrap();
        store.compact().await.unwrap();
        assert_eq!(store.ids().await, [1, 2], "{step:?} and again");
    }
}

#[tokio::test]
async fn what_is_older_than_what_is_kept_leaves_the_data_and_the_disk() {
    let store = Store::open_with(|args| args.retention_hours = Some(5)).await;
    let old = spans(&[(now_ns() - 7 * HOUR_NS, 1)]);
    store.writer.reserve(Signal::Traces, 100).unwrap().append(vec![old]).await.unwrap();
    store.append(2).await.unwrap();
    while store.writer.status().file_rows + store.writer.status().expired_rows < 2 {
        store.faults.set(Step::Expire, 0, Act::Fail);
        let _ = store.compact().await;
    }
    assert_eq!(store.ids().await, [1, 2], "failed");
    store.compact().await.unwrap();
    let status = store.writer.status();
    assert_eq!((status.expired_rows, status.files, status.replaced), (1, 1, 0));
    assert_eq!(store.ids().await, [2]);
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_does_not_hold_up_the_others() {
    let store = Store::open().await;
    store.append_and_seal(1).await;
    store.append_and_seal(2).await;
    store.faults.set(Step::ReadSegment, 0, Act::Fail);
    store.compact().await.unwrap();
    let status = store.writer.status();
    assert_eq!((status.file_rows, status.signals[0].segments_sealed), (1, 1));
    assert!(status.damaged[0].contains("cannot be read"), "{:?}", status.damaged);
    assert_eq!(store.ids().await, [1, 2]);
    let store = store.restart().await;
    store.compact().await.unwrap();
    assert_eq!(store.ids().await, [1, 2]);
    assert_eq!(store.writer.status().file_rows, 2);
}

#[tokio::test]
async fn a_segment_that_cannot_be_replaced_is_replaced_later() {
    for step in [Step::CreateSegment, Step::WriteManifest, Step::RenameManifest] {
        let store = Store::open().await;
        store.append(1).await.unwrap();
        store.faults.set(Step::SyncFrame, 0, Act::Fail);
        store.append(2).await.unwrap_err();
        // Sealing fails: the request is kept all the same.
        store.faults.set(step, 0, Act::Fail);
        store.append(3).await.unwrap();
        store.append(4).await.unwrap();
        assert!(!store.faults.pending());
        assert_eq!(store.ids().await, [1, 3, 4], "{step:?}");
        store.writer.close().await.unwrap();
        let mut log = std::fs::read_dir(store.folder.path().join("telemetry/log/traces")).unwrap();
        assert!(log.all(|file| file.unwrap().metadata().unwrap().len() > 0), "{step:?} leaves no file behind");
        let store = store.restart().await;
        assert_eq!(store.ids().await, [1, 3, 4], "{step:?} and a restart");
    }
}

#[tokio::test]
async fn compaction_that_fails_changes_nothing_and_succeeds_later() {
    let steps = [Step::WriteFile, Step::RenameFile, Step::SwapFiles, Step::RenameManifest];
    for (step, act) in steps.into_iter().flat_map(|step| [(step, Act::Fail), (step, Act::Panic)]) {
        let store = Store::open().await;
        for id in 0..3 {
            store.append_and_seal(id).await;
        }
        store.faults.set(step, 0, act);
        let error = store.compact().await.unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
        assert_eq!(store.ids().await, [0, 1, 2], "{step:?}");
        store.compact().await.unwrap();
        assert_eq!(store.ids().await, [0, 1, 2], "{step:?} and again");
        assert!(store.reader.snapshot(Table::Spans).await.unwrap().hot.is_empty());
    }
}

#[tokio::test]
async fn a_commit_thread_that_dies_is_a_failed_store() {
    let store = Store::open().await;
    store.append(1).await.unwrap();
    store.faults.set(Step::WriteFrame, 0, Act::Panic);
    assert!(matches!(store.append(2).await, Err(StoreError::Closed)));
    while !store.writer.status().failed {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.writer.reserve(Signal::Traces, 1).unwrap_err().reason, FullReason::Failed);
    let store = store.restart().await;
    assert_eq!(store.ids().await, [1]);
}

#[tokio::test]
async fn a_manifest_of_unknown_durability_stops_everything() {
    let store = Store::open().await;
    store.append_and_seal(1).await;
    store.faults.set(Step::SyncManifest, 0, Act::Fail);
    store.compact().await.unwrap_err();
    assert!(store.writer.status().failed);
    assert_eq!(store.writer.reserve(Signal::Logs, 1).unwrap_err().reason, FullReason::Failed);
    assert_eq!(store.ids().await, [1]);
    let store = store.restart().await;
    store.append(2).await.unwrap();
    assert_eq!(store.ids().await, [1, 2]);
}

#[tokio::test]
async fn merging_keeps_every_row_and_leaves_one_file() {
    let store = Store::open().await;
    for id in 0..8 {
        store.append_and_seal(id).await;
        // One segment at a time, so that there are eight files to merge.
        store.compact().await.unwrap();
    }
    assert_eq!(store.writer.status().merges, 1);
    let snapshot = store.reader.snapshot(Table::Spans).await.unwrap();
    assert_eq!(snapshot.files.len(), 1, "{:?}", snapshot.files);
    assert_eq!(store.ids().await, (0..8).collect::<Vec<_>>());
    assert_eq!(store.writer.status().replaced, 0);
    let left = std::fs::read_dir(snapshot.files[0].path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "replaced files are deleted");
    drop(store.folder);
}

#[tokio::test]
async fn merging_reads_files_of_more_than_one_batch() {
    let store = Store::open().await;
    let now = this_hour_ns() + HOUR_NS / 2;
    let mut count = 0;
    for rows in [BATCH_ROWS as u64 + 100, 4100, 4100, 4100, 4100, 4100, 4100, 4100] {
        let spans = spans(&(count..count + rows).map(|id| (now - id as i64, id)).collect::<Vec<_>>());
        store.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans]).await.unwrap();
        count += rows;
        while store.writer.status().file_rows < count {
            store.compact().await.unwrap();
        }
    }
    assert_eq!(store.writer.status().merges, 1);
    assert_eq!(store.ids().await, (0..count).collect::<Vec<_>>());
    // The large one was copied, six of the others make two, one is left.
    let path = store.reader.snapshot(Table::Spans).await.unwrap().files[0].path.clone();
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&std::fs::File::open(path).unwrap())
        .unwrap();
    let mut groups: Vec<_> = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    groups.sort_unstable();
    assert_eq!(groups, [4100, BATCH_ROWS as i64 + 100, 12300, 12300]);
    for group in metadata.row_groups() {
        assert!(group.columns().iter().any(|column| column.bloom_filter_offset().is_some()));
    }
}

/// Rows in the file, after checking that each promoted attribute is in its column what it is in its map.
fn check_promoted(path: &Path, promoted: &[String]) -> usize {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let mut rows = 0;
    for batch in reader.build().unwrap().map(Result::unwrap) {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns: Vec<_> =
            columns.filter_map(|(field, column)| Some((field.metadata().get(crate::PROMOTED_KEY)?, column))).collect();
        let used: Vec<_> = promoted.iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(), used);
        for (name, column) in columns {
            let (map, key) = name.strip_suffix("']").unwrap().split_once("['").unwrap();
            let maps = batch.column_by_name(map).unwrap().as_map();
            for row in 0..batch.num_rows() {
                let entries = maps.value(row);
                let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
                let entry = (0..entries.len()).find(|entry| keys.value(*entry) == key);
                let in_map = entry.filter(|entry| values.is_valid(*entry)).map(|entry| values.value(entry));
                let column = column.as_string::<i32>();
                assert_eq!(column.is_valid(row).then(|| column.value(row)), in_map, "{name} of row {row}");
            }
        }
        rows += batch.num_rows();
    }
    rows
}

/// What a version without promoted columns and trace indexes left behind.
fn make_old(folder: &Path, path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let own: Vec<usize> = (0..Table::Spans.columns().len()).collect();
    let rows: Vec<_> = reader.map(|rows| rows.unwrap().project(&own).unwrap()).collect();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), rows[0].schema(), None).unwrap();
    rows.iter().for_each(|rows| writer.write(rows).unwrap());
    writer.close().unwrap();
    let manifest = folder.join("telemetry/manifest.json");
    let mut named: serde_json::Value = serde_json::from_str(&manifest::text(&manifest)).unwrap();
    for file in named["files"].as_array_mut().unwrap() {
        if path.ends_with(file["path"].as_str().unwrap()) {
            let file = file.as_object_mut().unwrap();
            file.remove("promotion");
            file.remove("trace_index");
        }
    }
    std::fs::write(&manifest, named.to_string()).unwrap();
}

#[tokio::test]
async fn promoted_attributes_survive_merging_of_files_that_differ_in_them() {
    let mut store = Store::open().await;
    let now = this_hour_ns() + HOUR_NS / 2;
    let mut count = 0;
    // Large groups are copied, small ones sorted together; the last large one has most rows and decides.
    let large = BATCH_ROWS as u64 + 100;
    for (file, rows) in [large, large, large + 4100, 4100, 4100, 4100, 4100, 4100].into_iter().enumerate() {
        let spans = spans(&(count..count + rows).map(|id| (now - id as i64, id)).collect::<Vec<_>>());
        let of_file = if file == 1 { "only.here" } else { "elsewhere" };
        let spans = crate::rows::with_attributes(spans, |row| {
            let pair = |key: &str, value: usize| (key.to_owned(), Some(value.to_string()));
            let mut pairs = vec![pair("http.route", row % 7), pair(of_file, row % 3)];
            pairs.extend((row % 2 == 0).then(|| ("empty".to_owned(), None)));
            pairs
        });
        store.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans]).await.unwrap();
        count += rows;
        while store.writer.status().file_rows < count {
            store.compact().await.unwrap();
        }
        if file == 0 {
            let old = store.reader.snapshot(Table::Spans).await.unwrap().files[0].clone();
            assert!(old.promoted.contains(&"attributes['http.route']".to_owned()), "{:?}", old.promoted);
            check_promoted(&old.path, &old.promoted);
            store.writer.close().await.unwrap();
            make_old(store.folder.path(), &old.path);
            store = store.restart().await;
            let old = store.reader.snapshot(Table::Spans).await.unwrap().files[0].clone();
            assert_eq!((check_promoted(&old.path, &[]), old.promoted.len()), (rows as usize, 0));
        }
    }
    assert_eq!(store.writer.status().merges, 1);
    let file = store.reader.snapshot(Table::Spans).await.unwrap().files[0].clone();
    assert!(file.promoted.contains(&"attributes['elsewhere']".to_owned()), "{:?}", file.promoted);
    assert_eq!(check_promoted(&file.path, &file.promoted), count as usize);
    assert_eq!(store.ids().await, (0..count).collect::<Vec<_>>());
    assert!(file.may_hold_trace(&[trace_of(1)]) && !file.may_hold_trace(&[trace_of(1_000_000)]));
}

/// As [`spans`] makes them: ten spans a trace.
fn trace_of(id: u64) -> [u8; 16] {
    u128::from(id / 10).to_be_bytes()
}

#[tokio::test]
async fn a_file_knows_its_traces_whether_rows_were_sorted_or_copied() {
    let store = Store::open().await;
    let now = this_hour_ns() + HOUR_NS / 2;
    let mut count = 0;
    for rows in [BATCH_ROWS as u64 + 100, 4100, 4100, 4100, 4100, 4100, 4100, 4100] {
        let spans = spans(&(count..count + rows).map(|id| (now - id as i64, id)).collect::<Vec<_>>());
        store.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans]).await.unwrap();
        count += rows;
        while store.writer.status().file_rows < count {
            store.compact().await.unwrap();
        }
        let files = store.reader.snapshot(Table::Spans).await.unwrap().files;
        let holding = |id| files.iter().filter(|file| file.may_hold_trace(&[trace_of(id)])).count();
        assert!((0..count).step_by(10).all(|id| holding(id) >= 1));
        assert_eq!(holding(count + 1_000_000), 0);
    }
    assert_eq!(store.writer.status().merges, 1);
}

#[tokio::test]
async fn without_a_trace_index_that_can_be_read_any_trace_may_be_in_a_file() {
    let store = Store::open().await;
    store.append_and_seal(1).await;
    store.compact().await.unwrap();
    let file = || async { store.reader.snapshot(Table::Spans).await.unwrap().files[0].clone() };
    let (here, elsewhere) = ([trace_of(1)], [trace_of(1_000_000)]);
    assert_eq!([file().await.may_hold_trace(&here), file().await.may_hold_trace(&elsewhere)], [true, false]);
    let manifest = store.folder.path().join("telemetry/manifest.json");
    let named = manifest::text(&manifest);
    // What an older version wrote, and an index that is not where it should be.
    let (_, index) = named.split_once("\"trace_index\":").unwrap();
    let index = &index[..=index.find('}').unwrap()];
    for damaged in ["null", "{\"offset\":4,\"traces\":1}"] {
        std::fs::write(&manifest, named.replace(index, damaged)).unwrap();
        assert!(file().await.may_hold_trace(&elsewhere), "{damaged}");
    }
}

#[tokio::test]
async fn merging_leaves_an_unreadable_file_alone() {
    let store = Store::open().await;
    for id in 0..7 {
        store.append_and_seal(id).await;
        store.compact().await.unwrap();
    }
    let victim = store.reader.snapshot(Table::Spans).await.unwrap().files[0].path.clone();
    std::fs::write(&victim, b"not parquet").unwrap();
    for id in 7..9 {
        store.append_and_seal(id).await;
        store.compact().await.unwrap();
    }
    let status = store.writer.status();
    assert_eq!((status.merges, status.files, status.file_rows), (1, 2, 9));
    assert!(status.damaged[0].contains(&victim.display().to_string()), "{:?}", status.damaged);
}
