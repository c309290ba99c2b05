//! A process is killed at each step of commit, compaction and deletion; afterwards every answered row is there exactly once,
//! and every unanswered request whole or not at all. All of them are then sent again, and still each row is there once.
//!
//! The child is this test binary itself, running [`child`]: it appends and compacts, writes down what was answered, and parks
//! at the planned step, where the parent kills it. All children of one step work on one folder, one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::{Signal, Table};
use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::faults::Step;
use crate::faults::plan::Act;
use crate::maintenance::Worked;
use crate::rows::{ids_of, spans};
use crate::{Args, Digest, Kept, Reader, Repeats, Writer, layout};

const FOLDER: &str = "STORE_CRASH_FOLDER";
const PLAN: &str = "STORE_CRASH_PLAN";
const ROWS_PER_REQUEST: u64 = 3;
const REQUESTS_PER_CHILD_MAX: u64 = 10_000;

fn args(folder: &Path) -> Args {
    let repeats = Some(Repeats { window: Duration::from_secs(3600), requests_max: 1_000_000 });
    Args { segment_age_max_ms: 10, replaced_age_min_ms: 0, repeats, ..Args::new(folder) }
}

/// What a client sends, for the first time or again.
async fn send(writer: &Writer, request: u64) -> Kept {
    let rows: Vec<_> = ids_of_request(request).map(|id| (layout::now_ns(), id)).collect();
    let filled = writer.reserve(Signal::Traces, 1000).unwrap().fill(vec![spans(&rows)]).unwrap();
    filled.once(Digest(u128::from(request).to_le_bytes())).append().await.unwrap()
}

fn ids_of_request(request: u64) -> impl Iterator<Item = u64> {
    (0..ROWS_PER_REQUEST).map(move |row| request * ROWS_PER_REQUEST + row)
}

#[test]
#[ignore = "runs inside the tests below"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let plan = std::env::var(PLAN).unwrap();
    let numbers: Vec<usize> = plan.split(' ').map(|number| number.parse().unwrap()).collect();
    let [step, passes, child] = numbers[..] else { panic!("{plan}") };
    let faults = Faults::default();
    faults.set(Step::ALL[step], passes, Act::Park);
    runtime().block_on(async {
        let writer = Writer::open_with(args(Path::new(&folder)), faults).await.unwrap();
        let compacting = writer.clone();
        tokio::spawn(async move { compacting.compact(CancellationToken::new()).await });
        let first = child as u64 * REQUESTS_PER_CHILD_MAX;
        for request in first..first + REQUESTS_PER_CHILD_MAX {
            send(&writer, request).await;
            let mut out = std::io::stdout().lock();
            writeln!(out, "\nanswered {request}").unwrap();
            out.flush().unwrap();
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a child until it parks, kills it, and returns what was answered.
fn kill_at(folder: &Path, step: usize, passes: usize, child: usize) -> Vec<u64> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["crash_tests::child", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(PLAN, format!("{step} {passes} {child}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut answered = Vec::new();
    let mut parked = false;
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(request) = line.strip_prefix("answered ") {
            answered.push(request.parse().unwrap());
        }
        if line.starts_with("parked ") {
            parked = true;
            process.kill().unwrap();
        }
    }
    process.wait().unwrap();
    assert!(parked, "{:?} was not reached {passes} times", Step::ALL[step]);
    answered
}

fn check(folder: &Path, answered: &BTreeSet<u64>, moment: &str) {
    let snapshot = runtime().block_on(Reader::open(folder).unwrap().snapshot(Table::Spans)).unwrap();
    let mut rows_of: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for id in ids_of(&snapshot) {
        rows_of.entry(id / ROWS_PER_REQUEST).or_default().push(id);
    }
    for (request, rows) in &rows_of {
        let whole: Vec<u64> = ids_of_request(*request).collect();
        assert_eq!(rows, &whole, "request {request}, {moment}");
    }
    let lost: Vec<_> = answered.iter().filter(|request| !rows_of.contains_key(request)).collect();
    assert!(lost.is_empty(), "lost {lost:?}, {moment}");
}

fn crash_at(steps: &[Step], passes: [usize; 3]) {
    for step in steps {
        let folder = tempfile::tempdir().unwrap();
        let mut answered = BTreeSet::new();
        let index = Step::ALL.iter().position(|known| known == step).unwrap();
        for (child, passes) in passes.into_iter().enumerate() {
            answered.extend(kill_at(folder.path(), index, passes, child));
            check(folder.path(), &answered, &format!("killed at {step:?} after {passes}"));
        }
        runtime().block_on(async {
            let writer = Writer::open(args(folder.path())).await.unwrap();
            check_elsewhere(folder.path(), &answered, "opened again");
            for request in &answered {
                assert_eq!(send(&writer, *request).await, Kept::Before, "request {request}, {step:?}");
            }
            // One a child was never answered; its client sends it again, whatever became of it.
            let unanswered: Vec<u64> =
                answered.iter().map(|last| last + 1).filter(|next| !answered.contains(next)).collect();
            for request in unanswered {
                send(&writer, request).await;
                answered.insert(request);
            }
            check_elsewhere(folder.path(), &answered, "sent again");
            while writer.compact_once(&CancellationToken::new()).await.unwrap() == Worked::Yes {}
            assert_eq!(writer.status().damaged, Vec::<String>::new(), "{step:?}");
            writer.close().await.unwrap();
        });
        check(folder.path(), &answered, &format!("compacted after {step:?}"));
        let left = files(folder.path());
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    }
}

/// `check` blocks on a runtime of its own, which must not happen inside another.
fn check_elsewhere(folder: &Path, answered: &BTreeSet<u64>, moment: &str) {
    std::thread::scope(|scope| scope.spawn(|| check(folder, answered, moment)).join().unwrap());
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn killed_while_committing() {
    crash_at(&[Step::CreateSegment, Step::WriteFrame, Step::SyncFrame, Step::Answer], [0, 4, 13]);
}

#[test]
fn killed_while_replacing_the_manifest() {
    crash_at(&[Step::WriteManifest, Step::RenameManifest, Step::SyncManifest], [0, 4, 13]);
}

#[test]
fn killed_while_compacting() {
    crash_at(&[Step::ReadSegment, Step::WriteFile, Step::RenameFile, Step::SwapFiles], [0, 4, 13]);
}

#[test]
fn killed_while_merging() {
    crash_at(&[Step::WriteMerged, Step::SwapMerged], [0, 1, 2]);
}

#[test]
fn killed_while_writing_down_which_requests_are_known() {
    crash_at(&[Step::SaveRepeats], [0, 4, 13]);
}

#[test]
fn killed_while_deleting() {
    crash_at(&[Step::DeleteFile, Step::ForgetFiles], [0, 4, 13]);
}
