//! A folder that a crash, a disk or a person did something to: it opens, or says what is wrong; it never has a row that was not
//! written, nor one twice, nor loses a row of a segment that nobody touched; and to open it again changes nothing.
//!
//! Input: pieces of (deed and file, position, value), four bytes each.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use arrow::array::AsArray;
use libfuzzer_sys::fuzz_target;
use model::{Signal, Table};
use store::{Args, Reader, Writer};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const FRAMES: u64 = 4;
const DEEDS_MAX: usize = 6;
const MANIFEST: &str = "telemetry/manifest.json";

/// A folder left without a word, and which ids lie in which of its segments.
struct Left {
    folder: TempDir,
    files: Vec<PathBuf>,
    ids: BTreeMap<PathBuf, Vec<u64>>,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());
static LEFT: LazyLock<Left> = LazyLock::new(|| RUNTIME.block_on(leave()));

fuzz_target!(|input: &[u8]| {
    let left = &*LEFT;
    let folder = tempfile::tempdir().expect("a folder");
    copy(left.folder.path(), folder.path());
    let mut touched = Vec::new();
    for deed in input.chunks_exact(4).take(DEEDS_MAX) {
        let file = &left.files[usize::from(deed[0] >> 2) % left.files.len()];
        change(&folder.path().join(file), deed[0] & 3, u16::from_le_bytes([deed[1], deed[2]]), deed[3]);
        touched.push(file);
    }
    let Some(found) = RUNTIME.block_on(ids(folder.path())) else {
        let manifest = Path::new(MANIFEST);
        assert!(touched.iter().any(|file| *file == manifest), "only a damaged manifest may keep a folder shut: {touched:?}");
        return;
    };
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "a row twice: {found:?}");
    for (segment, ids) in &left.ids {
        let kept = ids.iter().all(|id| found.binary_search(id).is_ok());
        assert!(kept || touched.contains(&segment), "{} lost rows: {found:?}", segment.display());
    }
    assert!(found.iter().all(|id| left.ids.values().flatten().any(|known| known == id)), "made up: {found:?}");
    assert_eq!(RUNTIME.block_on(ids(folder.path())), Some(found), "another start");
});

/// Opens for writing, so that recovery does its work, and says which rows there are, sorted.
async fn ids(folder: &Path) -> Option<Vec<u64>> {
    let writer = Writer::open(Args::new(folder)).await.ok()?;
    let snapshot = Reader::open(folder).expect("a folder").snapshot(Table::Spans).await.expect("a snapshot");
    assert!(snapshot.files.is_empty(), "nothing is compacted here");
    writer.close().await.expect("an orderly end");
    let mut ids: Vec<u64> = Vec::new();
    for rows in snapshot.hot.iter() {
        let column = rows.column_by_name("span_id").expect("spans have ids").as_fixed_size_binary();
        ids.extend(column.iter().flatten().map(|id| u64::from_be_bytes(id.try_into().expect("8 bytes"))));
    }
    ids.sort_unstable();
    Some(ids)
}

/// Two lives of a writer leave a sealed segment and one that was being written.
async fn leave() -> Left {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ids = BTreeMap::new();
    for life in 0..2 {
        let writer = Writer::open(Args::new(folder.path())).await.expect("a writer");
        let mut written = Vec::new();
        for frame in 0..FRAMES {
            let id = life * FRAMES + frame + 1;
            let place = writer.reserve(Signal::Traces, 1024).expect("room");
            place.append(span(id)).await.expect("durable");
            written.push(id);
        }
        writer.close().await.expect("an orderly end");
        let new = files(folder.path()).into_iter().filter(|file| file.starts_with("telemetry/log/traces"));
        let new: Vec<PathBuf> = new.filter(|file| !ids.contains_key(file)).collect();
        let [segment] = &new[..] else { panic!("a segment for each life: {new:?}") };
        ids.insert(segment.clone(), written);
    }
    let files = files(folder.path()).into_iter().filter(|file| ids.contains_key(file) || file == Path::new(MANIFEST));
    Left { files: files.collect(), folder, ids }
}

fn span(id: u64) -> Vec<model::Batch> {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"work",
            "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000000000001"}}]}}]}}]}}"#
    );
    model::decode_json(Signal::Traces, body.as_bytes()).expect("OTLP").batches
}

fn change(path: &Path, deed: u8, position: u16, value: u8) {
    let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(path) else { return };
    let length = file.metadata().expect("a file").len();
    let position = u64::from(position) % length.max(1);
    let done = match deed {
        0 => file.set_len(position),
        1 => file.write_all_at(&[value], position),
        2 => file.write_all_at(&vec![value; 1 + usize::from(value)], length),
        _ => fs::remove_file(path),
    };
    done.expect("a writable folder");
}

/// Relative to `root`, in an order that does not change.
fn files(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(entry.strip_prefix(root).expect("below it").to_path_buf()),
            }
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(&file);
        fs::create_dir_all(to.parent().expect("below the root")).expect("a folder");
        fs::copy(from.join(&file), to).expect("room");
    }
}
