//! Parquet files go where objects are kept, here a folder: all of them, and every row once for who reads what the listings name.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::far_end::{FarEnd, answer};
use crate::harness::{TestCollector, eventually, now_ns, post, recent_span, traces};
use crate::real::requests;

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// A segment a request, a copy as soon as there is a file, in parts of a few bytes.
const AT_ONCE: [&str; 6] = [
    "--segment-bytes-max=1",
    "--s3-out-age-min-seconds=0",
    "--s3-out-replaced-age-min-seconds=0",
    "--s3-out-part-bytes=1000",
    "--sink-retry-min-ms=1",
    "--sink-retry-max-ms=20",
];

async fn collector(data: tempfile::TempDir, bucket: &Path, settings: &[&str]) -> TestCollector {
    let url = format!("--s3-out-url=file://{}", bucket.display());
    TestCollector::within(data, &[&AT_ONCE, &[url.as_str()][..], settings].concat()).await
}

async fn send(collector: &TestCollector, number: u64) {
    let body = traces(vec![recent_span(number)]).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
}

async fn state(collector: &TestCollector, sink: &str, signal: &str) -> serde_json::Value {
    let (code, health) = collector.health().await;
    assert_eq!(code, 200, "a sink never makes the collector unwell");
    let sinks = health["sinks"].as_array().expect("a list").clone();
    let wanted = |entry: &serde_json::Value| entry["sink"] == sink && entry["signal"] == signal;
    sinks.into_iter().find(wanted).expect("the sink is set")
}

/// Every row rests in a file, and every file is copied.
async fn copied(collector: &TestCollector, rows: u64) {
    eventually("all rows are copied", async || {
        let (_, health) = collector.health().await;
        let behind = health["store"]["cursors"].as_array().expect("a list").iter().any(|lag| lag["rows"] != 0);
        !behind && health["store"]["file_rows"] == rows
    })
    .await;
}

/// Files of `table` that the listings name, relative to the bucket, each looked at.
fn listed(bucket: &Path, table: &str) -> BTreeSet<String> {
    let days = std::fs::read_dir(bucket.join(table)).expect("the table has a folder");
    let mut listed = BTreeSet::new();
    for day in days {
        let listing = std::fs::read(day.expect("a folder").path().join("_files.json")).expect("a day has a listing");
        let listing: serde_json::Value = serde_json::from_slice(&listing).expect("it is JSON");
        for file in listing["files"].as_array().expect("a list") {
            let name = file["path"].as_str().expect("a name");
            let bytes = std::fs::read(bucket.join(name)).expect("what is named is there");
            assert_eq!(file["sha256"], format!("{:x}", Sha256::digest(&bytes)), "{name}");
            assert_eq!(file["bytes"], bytes.len(), "{name}");
            assert!(listed.insert(name.to_owned()), "{name} is named twice");
        }
    }
    listed
}

/// Every Parquet file below the folder.
fn files(bucket: &Path) -> BTreeSet<String> {
    let (mut folders, mut files) = (vec![bucket.to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.insert(path.strip_prefix(bucket).expect("it is below").display().to_string());
            }
        }
    }
    files
}

/// Numbers of the spans in these files, sorted.
fn spans(bucket: &Path, files: &BTreeSet<String>) -> Vec<u64> {
    let mut numbers = Vec::new();
    for name in files {
        let file = File::open(bucket.join(name)).expect("it is there");
        let rows = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet").build().expect("it is read");
        for batch in rows {
            let batch = batch.expect("it is whole");
            let ids = batch.column_by_name("span_id").expect("spans have ids").as_fixed_size_binary();
            let number =
                |id: Option<&[u8]>| u64::from_be_bytes(id.expect("an id").try_into().expect("eight bytes")) - 1;
            numbers.extend(ids.iter().map(number));
        }
    }
    numbers.sort_unstable();
    numbers
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn every_signal_is_copied_under_the_path_it_has() {
    let bucket = folder();
    let collector = collector(folder(), bucket.path(), &[]).await;
    for (path, body) in requests(now_ns()) {
        assert_eq!(post(collector.http, path, &JSON, body.as_bytes()).await.status, 200);
    }
    copied(&collector, 7).await;
    let state = state(&collector, "s3", "metrics").await;
    assert_eq!((&state["rows_delivered"], &state["state"]), (&5.into(), &"works".into()));
    let tables = ["spans", "logs", "metrics", "metric_histograms", "metric_exponential_histograms", "metric_summaries"];
    let all: BTreeSet<String> = tables.iter().flat_map(|table| listed(bucket.path(), table)).collect();
    assert_eq!(all, files(bucket.path()));
    let telemetry = collector.stopped().await;
    for name in all {
        let here = std::fs::read(telemetry.path().join("telemetry").join(&name)).expect("the same path on the disk");
        assert_eq!(std::fs::read(bucket.path().join(&name)).expect("it is there"), here, "{name}");
    }
}

#[tokio::test]
async fn a_merged_file_takes_the_place_of_those_it_was_made_of() {
    let bucket = folder();
    let (mut data, mut sent) = (folder(), 0);
    // Also over restarts, which know where they were.
    for round in [3, 4, 9] {
        let collector = collector(data, bucket.path(), &[]).await;
        for _ in 0..round {
            send(&collector, sent).await;
            sent += 1;
            copied(&collector, sent).await;
            let listed = listed(bucket.path(), "spans");
            assert_eq!(spans(bucket.path(), &listed), (0..sent).collect::<Vec<_>>());
        }
        eventually("what was replaced is deleted", async || files(bucket.path()) == listed(bucket.path(), "spans"))
            .await;
        data = collector.stopped().await;
    }
    assert!(files(bucket.path()).len() < 10, "some were merged");
}

#[tokio::test]
async fn a_bucket_that_is_away_costs_nobody_anything_and_gets_everything_once() {
    let parent = folder();
    let bucket = parent.path().join("bucket");
    // Where a file is, no folder can be.
    std::fs::write(&bucket, b"").expect("it is written");
    let other = FarEnd::start(|_, _| answer(200, "")).await;
    let out = format!("--otlp-out-url={}", other.url());
    let settings = [out.as_str(), "--otlp-out-protocol=http", "--otlp-out-wait-max-ms=1", "--retention-bytes=0"];
    let mut near = collector(folder(), &bucket, &settings).await;
    for number in 0..9 {
        send(&near, number).await;
    }
    eventually("it is told", async || state(&near, "s3", "traces").await["state"] == "fails").await;
    eventually("the other has all", async || state(&near, "otlp", "traces").await["rows_delivered"] == 9).await;
    near = collector(near.stopped().await, &bucket, &settings).await;
    eventually("all are behind", async || state(&near, "s3", "traces").await["lag"]["rows"] == 9).await;

    std::fs::remove_file(&bucket).expect("it was there");
    eventually("nothing is behind", async || state(&near, "s3", "traces").await["lag"]["rows"] == 0).await;
    let state = state(&near, "s3", "traces").await;
    assert_eq!((&state["state"], &state["lag"]["lost_rows"]), (&"works".into(), &0.into()), "{state}");
    assert_eq!(spans(&bucket, &listed(&bucket, "spans")), (0..9).collect::<Vec<_>>());
    near.stopped().await;
}

#[tokio::test]
async fn a_copy_stays_when_retention_takes_the_file() {
    let bucket = folder();
    let collector = collector(folder(), bucket.path(), &["--retention-bytes=0"]).await;
    for number in 0..3 {
        send(&collector, number).await;
        eventually("it leaves the disk", async || collector.health().await.1["store"]["files"] == 0).await;
    }
    eventually("it leaves the disk", async || {
        let (_, health) = collector.health().await;
        health["store"]["expired_rows"] == 3
    })
    .await;
    assert_eq!(spans(bucket.path(), &listed(bucket.path(), "spans")), [0, 1, 2]);
    collector.stopped().await;
}
