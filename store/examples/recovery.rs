//! How long a start takes over a large hot log, and how much of it is read.
//!
//! `cargo run --release -p store --example recovery -- --gigabytes 10` writes a log that nobody compacts, leaves it as a crash
//! would, with the segment being written nearly full and its tail torn, drops it from the page cache, and starts. Needs the
//! disk it is told to fill; everything is deleted at the end.

#![allow(clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use model::{Batch, Signal, Table};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rustix::fs::{Advice, fadvise};
use store::{Args, Writer};
use tokio::task::JoinSet;

/// Spans of one request.
const SPANS: u64 = 5_000;
/// Requests that share an fsync.
const IN_FLIGHT: usize = 4;
/// How much of a segment is written when the process dies: the most a start has to read.
const LAST_SEGMENT_SHARE: f64 = 0.75;

#[derive(Parser)]
struct Options {
    /// Size of the log, gigabytes
    #[arg(long, default_value_t = 10.0)]
    gigabytes: f64,
    /// Where to put it; a temporary folder when not set
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let args = || Args { log_bytes_max: u64::MAX, segment_age_max_ms: 86_400_000, ..Args::new(folder.path()) };
    let started = Instant::now();
    let written = fill(args(), (options.gigabytes * 1e9) as u64).await;
    let segments = leave_as_a_crash_does(folder.path());
    println!("wrote {:.2} GB in {segments} segments in {:.1?}", written as f64 / 1e9, started.elapsed());

    let (read_before, started) = (bytes_read(), Instant::now());
    let writer = Writer::open(args()).await.unwrap();
    let opened = started.elapsed();
    writer.reserve(Signal::Traces, 1).unwrap().append(vec![request()]).await.unwrap();
    let answered = started.elapsed();
    let status = writer.status();
    println!(
        "started in {:.3} s, first answer after {:.3} s; read {:.1} MB; {:.2} GB of log; damaged: {:?}",
        opened.as_secs_f64(),
        answered.as_secs_f64(),
        (bytes_read() - read_before) as f64 / 1e6,
        status.log_bytes as f64 / 1e9,
        status.damaged,
    );
    writer.close().await.unwrap();
}

/// Until the log has `bytes` and its last segment is nearly full. Returns what was written.
async fn fill(args: Args, bytes: u64) -> u64 {
    let segment_bytes = args.segment_bytes_max;
    let writer = Writer::open(args).await.unwrap();
    let request = request();
    let (mut appends, mut sealed, mut sealed_at) = (JoinSet::new(), 0, 0);
    loop {
        let traces = writer.status().signals[Signal::Traces as usize].clone();
        if traces.segments_sealed > sealed {
            (sealed, sealed_at) = (traces.segments_sealed, traces.bytes);
        }
        let last = traces.bytes - sealed_at;
        if traces.bytes >= bytes && last as f64 > segment_bytes as f64 * LAST_SEGMENT_SHARE {
            break;
        }
        if appends.len() >= IN_FLIGHT {
            appends.join_next().await.unwrap().unwrap();
        }
        let place = loop {
            match writer.reserve(Signal::Traces, 1) {
                Ok(place) => break place,
                Err(full) => tokio::time::sleep(full.retry_after.min(Duration::from_millis(20))).await,
            }
        };
        let rows = request.clone();
        appends.spawn(async move { place.append(vec![rows]).await.unwrap() });
    }
    while let Some(done) = appends.join_next().await {
        done.unwrap();
    }
    writer.close().await.unwrap();
    writer.status().signals[Signal::Traces as usize].bytes
}

/// Tears the tail of the newest segment and takes the log out of the page cache. Returns the number of segments.
fn leave_as_a_crash_does(folder: &Path) -> usize {
    let log = folder.join("telemetry/log/traces");
    let mut segments: Vec<(u64, PathBuf)> = fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
        .collect();
    segments.sort();
    let (_, newest) = segments.last().unwrap();
    OpenOptions::new().append(true).open(newest).unwrap().write_all(&[7; 100_000]).unwrap();
    for (_, path) in &segments {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
    segments.len()
}

/// Bytes this process has asked the kernel to read so far.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

fn request() -> Batch {
    let text = |key: &str, text: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..Default::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let spans = (1..=SPANS).map(|id| Span {
        trace_id: u128::from(id / 10 + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: format!("GET /api/orders/{}", id % 7),
        start_time_unix_nano: now + id,
        end_time_unix_nano: now + 1000 * id,
        attributes: (0..10).map(|key| text(&format!("key.{key}"), format!("{}", id * (key + 3)))).collect(),
        ..Default::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let batches = model::decode_protobuf(Signal::Traces, &body).unwrap().batches;
    batches.into_iter().find(|batch| batch.table() == Table::Spans).unwrap()
}
