//! A collector in a temporary folder, and clients that speak bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use clap::{Args as _, Command, FromArgMatches as _};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Batch, Signal, Table};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Nothing here should take long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct TestCollector {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) probe: Option<SocketAddr>,
    pub(crate) data: TempDir,
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<()>>,
}

impl TestCollector {
    pub(crate) async fn start() -> TestCollector {
        TestCollector::with(&[]).await
    }

    /// With settings as they are typed.
    pub(crate) async fn with(settings: &[&str]) -> TestCollector {
        TestCollector::within(tempfile::tempdir().expect("a temporary folder"), settings).await
    }

    /// In a folder that another one may have left.
    pub(crate) async fn within(data: TempDir, settings: &[&str]) -> TestCollector {
        let server = collector::Server::bind(args(data.path(), settings)).await.expect("port 0 is always free");
        let (grpc, http, probe) = (server.grpc_address(), server.http_address(), server.probe_address());
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone()));
        TestCollector { grpc, http, probe, data, stop, run }
    }

    /// What a query would see now.
    pub(crate) async fn rows(&self, table: Table) -> Vec<RecordBatch> {
        let snapshot = self.snapshot(table).await;
        assert!(snapshot.files.is_empty(), "segments are not sealed in these tests");
        snapshot.hot.to_vec()
    }

    /// Also after a restart, which seals segments.
    pub(crate) async fn snapshot(&self, table: Table) -> store::Snapshot {
        let reader = store::Reader::open(self.data.path()).expect("the folder exists");
        reader.snapshot(table).await.expect("the folder is readable")
    }

    pub(crate) async fn count(&self, table: Table) -> usize {
        self.rows(table).await.iter().map(RecordBatch::num_rows).sum()
    }

    /// Everything of that signal as OTLP/JSON: what would leave again.
    pub(crate) async fn stored(&self, signal: Signal) -> serde_json::Value {
        let mut batches = Vec::new();
        for table in signal.tables() {
            let rows = self.rows(*table).await;
            batches.extend(rows.into_iter().map(|rows| Batch::new(*table, rows).expect("rows of this table")));
        }
        model::encode_json(signal, &batches)
    }

    pub(crate) async fn health(&self) -> (u16, serde_json::Value) {
        let answer = request(self.http, "GET", "/health", &[], b"").await;
        (answer.status, serde_json::from_slice(&answer.body).expect("health is JSON"))
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end and gives the folder back.
    pub(crate) async fn stopped(self) -> TempDir {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.run).await.expect("it stops");
        ended.expect("it does not panic").expect("it stops without an error");
        self.data
    }
}

pub(crate) fn args(data: &Path, settings: &[&str]) -> collector::Args {
    let data = data.to_str().expect("a temporary folder has a plain name");
    let fixed = [
        "collector",
        "--otlp-grpc=127.0.0.1:0",
        "--otlp-http=127.0.0.1:0",
        "--segment-age-max-ms=3600000",
        "--data-dir",
    ];
    let words = fixed.iter().copied().chain([data]).chain(settings.iter().copied());
    // The last word counts, so a test may have other segments than these.
    let command = Command::new("collector").args_override_self(true);
    let matches = collector::Args::augment_args(command).get_matches_from(words);
    collector::Args::from_arg_matches(&matches).expect("every setting has a default")
}

/// An answer over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body every error must have.
    pub(crate) fn status_message(&self) -> tonic_types::Status {
        prost::Message::decode(&self.body[..]).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) async fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(to, "POST", path, headers, body).await
}

pub(crate) async fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(to).await.expect("the collector listens");
    request_over(&mut socket, method, path, headers, body).await
}

/// The same over a connection that is there already, such as one with TLS.
pub(crate) async fn request_over(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    socket.write_all(head(method, path, headers, body.len()).as_bytes()).await.expect("the head is accepted");
    socket.write_all(body).await.expect("the body is accepted");
    socket.flush().await.expect("it is sent");
    answer(socket).await
}

pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], body_bytes: usize) -> String {
    let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {body_bytes}\r\n{fields}\r\n"
    )
}

pub(crate) async fn answer(socket: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("it answers");
    read.expect("the connection is closed in order");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line has a code");
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// What a call ended with: the status from the trailers, or from the headers when there was no message.
pub(crate) struct Call {
    pub(crate) message: Bytes,
    pub(crate) status: tonic::Status,
}

/// A gRPC call whose request body is these bytes, frame prefix and all.
pub(crate) async fn call(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Call {
    let socket = TcpStream::connect(to).await.expect("the collector listens");
    call_over(socket, path, headers, body).await
}

pub(crate) async fn call_over(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Call {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://collector.test{path}")).header("te", "trailers");
    for (name, value) in headers.iter().chain(&[("content-type", "application/grpc")]) {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a valid request");
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("it answers");
    let (head, body) = response.expect("it answers the call").into_parts();
    let collected = body.collect().await.expect("the answer is whole");
    let trailers = collected.trailers().cloned().unwrap_or(HeaderMap::new());
    let status = tonic::Status::from_header_map(&trailers).or_else(|| tonic::Status::from_header_map(&head.headers));
    connection.abort();
    Call { message: collected.to_bytes(), status: status.expect("every call ends with a status") }
}

pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

/// What OTLP/HTTP calls deflate.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

/// A good span with that number in its ids.
pub(crate) fn span(number: u64) -> Span {
    Span {
        trace_id: u128::from(number).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: format!("span {number}"),
        start_time_unix_nano: 1_764_000_000_000_000_000,
        end_time_unix_nano: 1_764_000_000_001_000_000,
        ..Default::default()
    }
}

/// One of now: times that cannot be true go elsewhere. Numbers may begin at 0, ids may not.
pub(crate) fn recent_span(number: u64) -> Span {
    let now = now_ns();
    Span { start_time_unix_nano: now, end_time_unix_nano: now + 1, ..span(number + 1) }
}

pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

pub(crate) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource = Some(Resource::default());
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans, ..Default::default() }] }
}

/// Waits until it holds, by asking again whenever the runtime has nothing better to do.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, holds).await;
}

/// The same for what takes its time.
pub(crate) async fn within(time: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(time, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
