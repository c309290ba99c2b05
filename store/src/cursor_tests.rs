//! What a sink gets of the log: every row once, whatever compaction, a crash or the sink itself does meanwhile.

use std::path::Path;
use std::time::Duration;

use model::{Batch, Signal, Table};
use tokio_util::sync::CancellationToken;

use crate::faults::plan::Act;
use crate::faults::{Faults, Step};
use crate::layout::now_ns;
use crate::maintenance::Worked;
use crate::rows::{ids, ids_of, spans, table};
use crate::{Ahead, Args, Batches, Cursor, Handover, Portion, Reader, StoreError, Writer};

/// Whatever is there, a frame at least.
const ANY: Portion = Portion { rows_min: 1, wait_max: Duration::ZERO, rows_max: u64::MAX, bytes_max: u64::MAX };
const FRAME: Portion = Portion { bytes_max: 1, ..ANY };

struct Store {
    folder: tempfile::TempDir,
    faults: Faults,
    writer: Writer,
}

impl Store {
    async fn open(change: impl FnOnce(&mut Args)) -> Store {
        Self::open_in(tempfile::tempdir().unwrap(), change).await
    }

    async fn open_in(folder: tempfile::TempDir, change: impl FnOnce(&mut Args)) -> Store {
        let faults = Faults::default();
        let mut args = Args { replaced_age_min_ms: 0, ..Args::new(folder.path()) };
        change(&mut args);
        let writer = Writer::open_with(args, faults.clone()).await.unwrap();
        Store { folder, faults, writer }
    }

    async fn append(&self, ids: impl IntoIterator<Item = u64>) {
        let rows: Vec<_> = ids.into_iter().map(|id| (now_ns(), id)).collect();
        self.writer.reserve(Signal::Traces, 100).unwrap().append(vec![spans(&rows)]).await.unwrap();
    }

    async fn append_and_seal(&self, id: u64) {
        let sealed = || self.writer.status().signals[0].segments_sealed;
        let before = sealed();
        self.append([id]).await;
        while sealed() == before {
            tokio::task::yield_now().await;
        }
    }

    async fn cursor(&self) -> Cursor {
        self.writer.cursor("test", Signal::Traces).await.unwrap()
    }

    async fn compact(&self) {
        while self.writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
    }

    async fn stop(self) -> tempfile::TempDir {
        self.writer.close().await.unwrap();
        self.folder
    }

    fn segments(&self) -> usize {
        segments(self.folder.path())
    }
}

fn segments(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("telemetry/log/traces")).unwrap().count()
}

/// A segment for each request.
fn tiny_segments(args: &mut Args) {
    args.segment_bytes_max = 1;
}

fn ids_in(handover: &Handover) -> Vec<u64> {
    handover.batches.iter().map(Batch::rows).flat_map(ids).collect()
}

/// Takes ranges until there were `count` rows.
async fn take(cursor: &mut Cursor, portion: &Portion, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < count {
        let handover = cursor.next(portion).await.unwrap();
        all.extend(ids_in(&handover));
        cursor.taken(&handover).await.unwrap();
    }
    all
}

/// Nothing more comes for now.
async fn nothing(cursor: &mut Cursor) -> bool {
    tokio::time::timeout(Duration::from_millis(50), cursor.next(&ANY)).await.is_err()
}

#[tokio::test]
async fn every_row_comes_once_and_in_order() {
    for change in [tiny_segments as fn(&mut Args), |_| ()] {
        let store = Store::open(change).await;
        store.append(0..3).await;
        let mut cursor = store.cursor().await;
        store.append(3..5).await;
        assert_eq!(take(&mut cursor, &FRAME, 5).await, [0, 1, 2, 3, 4]);
        assert!(nothing(&mut cursor).await);
        store.append(5..6).await;
        assert_eq!(take(&mut cursor, &ANY, 1).await, [5]);
        let lag = &store.writer.status().cursors[0];
        assert_eq!((lag.rows, lag.bytes, lag.age_ms, lag.lost_rows), (0, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_sink_that_waits_is_woken() {
    let store = Store::open(tiny_segments).await;
    let mut cursor = store.cursor().await;
    let waiting = tokio::spawn(async move { take(&mut cursor, &ANY, 3).await });
    for id in 0..3 {
        store.append([id]).await;
    }
    assert_eq!(waiting.await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn rows_gather_until_they_are_enough() {
    let store = Store::open(|_| ()).await;
    let mut cursor = store.cursor().await;
    store.append(0..2).await;
    // It looks every tenth of the wait.
    let portion = Portion { rows_min: 4, wait_max: Duration::from_secs(5), ..ANY };
    let waiting = tokio::spawn(async move { ids_in(&cursor.next(&portion).await.unwrap()) });
    store.append(2..4).await;
    assert_eq!(waiting.await.unwrap(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_range_that_was_not_taken_comes_again_as_it_was() {
    let store = Store::open(|_| ()).await;
    let mut cursor = store.cursor().await;
    store.append(0..2).await;
    let first = cursor.next(&ANY).await.unwrap();
    store.append(2..9).await;
    let again = cursor.next(&ANY).await.unwrap();
    assert_eq!((&again.name, again.since_ms, ids_in(&again)), (&first.name, first.since_ms, vec![0, 1]));
    drop(cursor);

    let store = Store::open_in(store.stop().await, tiny_segments).await;
    store.append([9]).await;
    let mut cursor = store.cursor().await;
    // The smallest portion, and still the whole range.
    let again = cursor.next(&FRAME).await.unwrap();
    assert_eq!((&again.name, again.since_ms, ids_in(&again)), (&first.name, first.since_ms, vec![0, 1]));
    cursor.taken(&again).await.unwrap();
    assert_eq!(take(&mut cursor, &ANY, 8).await, (2..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_taken_does_not_come_after_a_restart() {
    let store = Store::open(|_| ()).await;
    let mut cursor = store.cursor().await;
    store.append(0..5).await;
    assert_eq!(take(&mut cursor, &ANY, 5).await.len(), 5);
    store.append(5..7).await;
    let store = Store::open_in(store.stop().await, |_| ()).await;
    let mut cursor = store.cursor().await;
    assert_eq!(store.writer.status().cursors[0].rows, 2, "counted although a restart sealed the segment");
    assert_eq!(take(&mut cursor, &ANY, 2).await, [5, 6]);
}

#[tokio::test]
async fn segments_stay_until_every_sink_has_them() {
    let store = Store::open(tiny_segments).await;
    let mut fast = store.writer.cursor("fast", Signal::Traces).await.unwrap();
    let mut slow = store.writer.cursor("slow", Signal::Traces).await.unwrap();
    for id in 0..4 {
        store.append_and_seal(id).await;
    }
    store.compact().await;
    assert_eq!(store.writer.status().file_rows, 4);
    assert_eq!(store.segments(), 5, "four that are compacted and the one being written");
    let status = store.writer.status();
    assert_eq!(status.cursors.iter().map(|lag| lag.rows).collect::<Vec<_>>(), [4, 4]);
    assert!(status.held_bytes > 0 && status.held_bytes < status.log_bytes);

    assert_eq!(take(&mut fast, &ANY, 4).await, [0, 1, 2, 3]);
    assert_eq!(take(&mut slow, &ANY, 2).await, [0, 1]);
    store.compact().await;
    assert_eq!(store.segments(), 3);
    assert_eq!(take(&mut slow, &ANY, 2).await, [2, 3]);
    store.compact().await;
    assert_eq!((store.segments(), store.writer.status().held_bytes), (1, 0));
    let snapshot = Reader::open(store.folder.path()).unwrap().snapshot(Table::Spans).await.unwrap();
    assert_eq!(ids_of(&snapshot), [0, 1, 2, 3], "a query sees no row twice");
}

#[tokio::test]
async fn a_dead_sink_costs_disk_up_to_a_limit_and_never_a_request() {
    let store = Store::open(|args| {
        tiny_segments(args);
        args.log_held_bytes_max = 100_000;
        args.log_bytes_max = 60_000;
        args.unwritten_bytes_max = 1 << 20;
    })
    .await;
    let mut dead = store.cursor().await;
    let in_hand = {
        store.append_and_seal(0).await;
        dead.next(&ANY).await.unwrap()
    };
    for id in 1..60 {
        store.append_and_seal(id).await;
        store.compact().await;
    }
    let status = store.writer.status();
    assert!(status.held_bytes <= 100_000 && status.refusing.is_empty(), "{status:?}");
    let lag = &status.cursors[0];
    assert!(lag.lost_rows > 0 && lag.lost_rows + lag.rows == 60, "{lag:?}");

    // It lives after all: what it had in hand was not lost.
    let lost = lag.lost_rows;
    dead.taken(&in_hand).await.unwrap();
    assert_eq!(store.writer.status().cursors[0].lost_rows, lost - 1);
    assert_eq!(take(&mut dead, &ANY, (60 - lost) as usize).await, (lost..60).collect::<Vec<_>>());
    let store = Store::open_in(store.stop().await, |_| ()).await;
    let _cursor = store.cursor().await;
    assert_eq!(store.writer.status().cursors[0].lost_rows, lost - 1, "known after a restart");
}

#[tokio::test]
async fn a_disk_that_gets_short_frees_what_only_sinks_need() {
    let store = Store::open(tiny_segments).await;
    let _dead = store.cursor().await;
    store.append_and_seal(1).await;
    store.compact().await;
    assert_eq!(store.segments(), 2);
    let store = Store::open_in(store.stop().await, |args| args.disk_free_bytes_min = u64::MAX / 4).await;
    let _dead = store.cursor().await;
    store.compact().await;
    assert_eq!(store.segments(), 1);
    assert_eq!(store.writer.status().cursors[0].lost_rows, 1);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_down_is_not_left() {
    let store = Store::open(|_| ()).await;
    let mut cursor = store.cursor().await;
    store.append(0..2).await;
    store.faults.set(Step::SaveCursor, 0, Act::Fail);
    assert!(matches!(cursor.next(&ANY).await, Err(StoreError::Write { .. })));
    let handover = cursor.next(&ANY).await.unwrap();
    store.faults.set(Step::SaveCursor, 0, Act::Fill);
    cursor.taken(&handover).await.unwrap_err();
    assert_eq!(cursor.next(&ANY).await.unwrap().name, handover.name);
    cursor.taken(&handover).await.unwrap();
    assert!(nothing(&mut cursor).await);
}

#[tokio::test]
async fn a_damaged_frame_costs_the_sink_no_other() {
    let store = Store::open(|_| ()).await;
    let cursor = store.cursor().await;
    for id in 0..3 {
        store.append([id]).await;
    }
    drop(cursor);
    let folder = store.stop().await;
    let log = std::fs::read_dir(folder.path().join("telemetry/log/traces")).unwrap();
    let path = log.map(|file| file.unwrap().path()).next().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open_in(folder, |_| ()).await;
    let mut cursor = store.cursor().await;
    assert_eq!(take(&mut cursor, &ANY, 2).await, [0, 2]);
    assert!(nothing(&mut cursor).await);
}

#[tokio::test]
async fn a_place_that_makes_no_sense_is_told() {
    let store = Store::open(|_| ()).await;
    let file = store.folder.path().join("telemetry/cursors/test.traces.json");
    for content in
        ["{", r#"{"format":9}"#, r#"{"format":1,"segment":99,"offset":0,"rows":0,"pending":null,"lost_rows":0}"#]
    {
        std::fs::write(&file, content).unwrap();
        let error = store.writer.cursor("test", Signal::Traces).await.unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == file), "{error}");
    }
    assert!(store.writer.cursor("other", Signal::Traces).await.is_ok());
}

#[tokio::test]
async fn all_tables_of_a_request_come_together() {
    let store = Store::open(|_| ()).await;
    let mut cursor = store.writer.cursor("test", Signal::Metrics).await.unwrap();
    let batches: Vec<Batch> = Signal::Metrics.tables().iter().map(|it| table(*it, &[(now_ns(), 1)])).collect();
    store.writer.reserve(Signal::Metrics, 100).unwrap().append(batches).await.unwrap();
    let handover = cursor.next(&FRAME).await.unwrap();
    assert_eq!((handover.rows, handover.batches.len()), (4, 4));
    assert!(handover.batches.iter().map(Batch::table).eq(Signal::Metrics.tables().iter().copied()));
}

/// Each frame by itself, until there were `count` rows.
/// A range and what was in it: who keeps the rows of many leaves no room for others.
struct Read {
    range: Handover,
    ids: Vec<u64>,
}

async fn read_on(ahead: &mut Ahead, count: usize) -> Vec<Read> {
    let mut read: Vec<Read> = Vec::new();
    while read.iter().map(|read| read.ids.len()).sum::<usize>() < count {
        let mut range = ahead.next(&FRAME).await.unwrap();
        let ids = ids_in(&range);
        range.batches = Batches::default();
        read.push(Read { range, ids });
    }
    read
}

#[tokio::test]
async fn a_reader_may_go_ahead_of_what_it_takes() {
    for (change, second_row) in [(tiny_segments as fn(&mut Args), 0), (|_| (), 2)] {
        let store = Store::open(change).await;
        let mut cursor = store.cursor().await;
        for ids in [0..2, 2..3, 3..5] {
            store.append(ids).await;
        }
        let read = read_on(&mut cursor.ahead(), 5).await;
        assert_eq!(read.iter().map(|read| read.ids.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![2], vec![3, 4]]);
        assert_eq!((read[0].range.first_row, read[1].range.first_row), (0, second_row));
        assert_eq!(store.writer.status().cursors[0].rows, 5, "nothing is taken by reading");
        cursor.taken(&read[0].range).await.unwrap();
        cursor.taken(&read[1].range).await.unwrap();
        assert_eq!(store.writer.status().cursors[0].rows, 2);
        drop(cursor);

        let store = Store::open_in(store.stop().await, change).await;
        let mut ahead = store.cursor().await.ahead();
        assert_eq!(read_on(&mut ahead, 2).await.into_iter().flat_map(|read| read.ids).collect::<Vec<_>>(), [3, 4]);
        store.append(5..6).await;
        assert_eq!(read_on(&mut ahead, 1).await.into_iter().flat_map(|read| read.ids).collect::<Vec<_>>(), [5]);
    }
}

#[tokio::test]
async fn what_leaves_the_disk_is_left_out_by_who_went_ahead() {
    let store = Store::open(|args| {
        tiny_segments(args);
        args.log_held_bytes_max = 1;
    })
    .await;
    let mut cursor = store.cursor().await;
    store.append_and_seal(0).await;
    let mut ahead = cursor.ahead();
    let read = read_on(&mut ahead, 1).await;
    for id in 1..4 {
        store.append_and_seal(id).await;
    }
    let oldest = cursor.oldest_segment();
    store.compact().await;
    assert!(cursor.oldest_segment() > oldest);
    store.append([4]).await;
    assert_eq!(read_on(&mut ahead, 1).await.into_iter().flat_map(|read| read.ids).collect::<Vec<_>>(), [4]);
    cursor.taken(&read[0].range).await.unwrap();
    assert_eq!(store.writer.status().cursors[0].lost_rows, 3, "the first had been read in time");
}

#[tokio::test]
async fn a_follower_stays_behind_what_its_leader_has_taken() {
    for change in [tiny_segments as fn(&mut Args), |_| ()] {
        let store = Store::open(change).await;
        let mut leader = store.writer.cursor("leader", Signal::Traces).await.unwrap();
        let mut follower = store.cursor().await;
        follower.follow(&leader);
        for ids in [0..2, 2..3, 3..5] {
            store.append(ids).await;
        }
        let read = read_on(&mut leader.ahead(), 5).await;
        assert!(nothing(&mut follower).await);
        leader.taken(&read[0].range).await.unwrap();
        assert_eq!(take(&mut follower, &ANY, 2).await, [0, 1]);
        assert!(nothing(&mut follower).await);
        let waiting = tokio::spawn(async move { take(&mut follower, &ANY, 3).await });
        leader.taken(&read[1].range).await.unwrap();
        leader.taken(&read[2].range).await.unwrap();
        assert_eq!(waiting.await.unwrap(), [2, 3, 4]);
    }
}

#[tokio::test]
async fn a_range_that_was_handed_out_before_it_followed_comes_again_whole() {
    let store = Store::open(|_| ()).await;
    let mut leader = store.writer.cursor("leader", Signal::Traces).await.unwrap();
    let mut follower = store.cursor().await;
    store.append(0..2).await;
    store.append(2..4).await;
    let first = follower.next(&ANY).await.unwrap().name;
    follower.follow(&leader);
    let read = read_on(&mut leader.ahead(), 4).await;
    leader.taken(&read[0].range).await.unwrap();
    assert!(nothing(&mut follower).await, "half of it would have another name");
    leader.taken(&read[1].range).await.unwrap();
    let again = follower.next(&ANY).await.unwrap();
    assert_eq!((&again.name, ids_in(&again)), (&first, vec![0, 1, 2, 3]));
}

#[tokio::test]
async fn a_reader_has_a_folder_beside_its_place() {
    let store = Store::open(|_| ()).await;
    let cursor = store.cursor().await;
    let folder = cursor.folder().await.unwrap();
    std::fs::write(folder.join("7.mask"), "x").unwrap();
    drop(cursor);
    let store = Store::open_in(store.stop().await, |_| ()).await;
    let again = store.cursor().await.folder().await.unwrap();
    assert_eq!(std::fs::read(again.join("7.mask")).unwrap(), b"x", "a start leaves it alone");
}

#[tokio::test]
async fn only_so_many_ranges_are_in_memory_whoever_reads() {
    let store = Store::open(|_| ()).await;
    store.append(0..2).await;
    let mut cursors = Vec::new();
    for name in ["one", "two", "three"] {
        cursors.push(store.writer.cursor(name, Signal::Traces).await.unwrap());
    }
    let mut last = cursors.pop().unwrap();
    let mut held = Vec::new();
    for cursor in &mut cursors {
        held.push(cursor.next(&ANY).await.unwrap());
    }
    assert!(nothing(&mut last).await);
    held.pop();
    assert_eq!(take(&mut last, &ANY, 2).await, [0, 1]);
}
