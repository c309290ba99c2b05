//! Clients that stall, leave or stay: none of them holds the collector.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use model::Table;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::harness::{TRACES, TestCollector, answer, args, call_over, eventually, head, post, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

#[tokio::test]
async fn a_body_that_stalls_is_504_which_clients_retry() {
    let collector = TestCollector::with(&["--otlp-body-seconds-max=1"]).await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    socket.write_all(head("POST", "/v1/traces", &PROTOBUF, 1000).as_bytes()).await.expect("it reads");
    socket.write_all(b"\n").await.expect("it reads");
    let answer = answer(&mut socket).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.status_message().code, Code::DeadlineExceeded as i32);
    collector.stopped().await;
}

/// A request body of which nothing ever arrives.
struct Stalled;

impl HttpBody for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_message_that_stalls_is_deadline_exceeded_which_clients_retry() {
    let collector = TestCollector::with(&["--otlp-body-seconds-max=1"]).await;
    let socket = TcpStream::connect(collector.grpc).await.expect("it listens");
    let status = call_over(socket, TRACES, &[], Body::new(Stalled)).await.status;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    collector.stopped().await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_before_and_within_a_header() {
    let collector = TestCollector::with(&["--otlp-idle-seconds-max=1"]).await;
    let mut silent = Vec::new();
    for port in [collector.grpc, collector.http] {
        for start in [&b""[..], b"PRI * HTTP/2.0\r\n", b"POST /v1/traces HTTP/1.1\r\nhost: t"] {
            let mut socket = TcpStream::connect(port).await.expect("it listens");
            socket.write_all(start).await.expect("it reads");
            silent.push(socket);
        }
    }
    for mut socket in silent {
        // Closed with or without a word; a reset is an end as well.
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    collector.stopped().await;
}

#[tokio::test]
async fn a_header_that_drips_ends_with_its_time() {
    let collector = TestCollector::with(&["--otlp-idle-seconds-max=1"]).await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    socket.write_all(b"POST /v1/traces HTTP/1.1\r\nx-slow: ").await.expect("it reads");
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let dripping = async {
        while socket.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), dripping).await.expect("no byte of it prolongs it");
    collector.stopped().await;
}

#[tokio::test]
async fn a_client_that_reads_no_answer_loses_its_connection() {
    let collector = TestCollector::with(&["--otlp-idle-seconds-max=1"]).await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    // More than the kernel takes at both ends, so that the collector cannot write on.
    let asking = async { while socket.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it is cut off");
    collector.stopped().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let collector = TestCollector::start().await;
    let body = traces(vec![span(1)]).encode_to_vec();
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    socket.write_all(head("POST", "/v1/traces", &PROTOBUF, body.len()).as_bytes()).await.expect("it reads");
    socket.write_all(&body[..10]).await.expect("it reads");
    eventually("the request is in flight", async || collector.health().await.1["in_flight"]["bytes"] == 10).await;
    drop(socket);
    eventually("its room is given back", async || collector.health().await.1["in_flight"]["requests"] == 0).await;
    assert_eq!(collector.count(Table::Spans).await, 0);
    collector.stopped().await;
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun_and_accepts_nothing_new() {
    let collector = TestCollector::start().await;
    let address = collector.http;
    let body = traces(vec![span(1)]).encode_to_vec();
    let mut begun = TcpStream::connect(address).await.expect("it listens");
    begun.write_all(head("POST", "/v1/traces", &PROTOBUF, body.len()).as_bytes()).await.expect("it reads");
    begun.write_all(&body[..10]).await.expect("it reads");
    eventually("the request is in flight", async || collector.health().await.1["in_flight"]["bytes"] == 10).await;

    collector.ask_to_stop();
    eventually("new connections are refused", async || TcpStream::connect(address).await.is_err()).await;
    begun.write_all(&body[10..]).await.expect("it still reads");
    assert_eq!(answer(&mut begun).await.status, 200);

    let data = collector.stopped().await;
    let again = collector::Server::bind(args(data.path(), &[])).await.expect("the lock was given up");
    drop(again);
    let snapshot = store::Reader::open(data.path()).expect("it exists").snapshot(Table::Spans).await.expect("readable");
    let rows = snapshot.files.iter().map(|file| file.rows as usize).sum::<usize>()
        + snapshot.hot.iter().map(|rows| rows.num_rows()).sum::<usize>();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_delay_a_stop_for_ever() {
    let collector = TestCollector::with(&["--otlp-drain-seconds-max=1"]).await;
    let mut stalled = TcpStream::connect(collector.http).await.expect("it listens");
    stalled.write_all(head("POST", "/v1/traces", &PROTOBUF, 1000).as_bytes()).await.expect("it reads");
    eventually("the request is in flight", async || collector.health().await.1["in_flight"]["requests"] == 1).await;
    collector.stopped().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let collector = TestCollector::with(&["--otlp-connections-max=1"]).await;
    let first = TcpStream::connect(collector.http).await.expect("it listens");
    let mut second = TcpStream::connect(collector.http).await.expect("the kernel's queue takes it");
    second.write_all(head("POST", "/v1/traces", &PROTOBUF, 0).as_bytes()).await.expect("the kernel buffers it");
    drop(first);
    assert_eq!(answer(&mut second).await.status, 200);
    collector.stopped().await;
}

#[tokio::test]
async fn a_taken_port_is_one_clear_sentence() {
    let holder = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is always free");
    let address = holder.local_addr().expect("it is bound");
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut args = args(data.path(), &[]);
    args.otlp_grpc = address;
    let Err(error) = collector::Server::bind(args).await else { panic!("the port is taken") };
    assert_eq!(
        error.to_string(),
        format!(
            "could not listen on {address}: address already in use; another process holds it, \
             choose another with --otlp-grpc or move everything with --port-offset 10000"
        )
    );
}

#[tokio::test]
async fn many_exporters_at_once_lose_nothing() {
    let collector = TestCollector::start().await;
    let mut exporters = tokio::task::JoinSet::new();
    for exporter in 0..16_u64 {
        let to = collector.http;
        exporters.spawn(async move {
            for request in 0..10 {
                let first = exporter * 1000 + request * 20 + 1;
                let body = traces((first..first + 20).map(span).collect()).encode_to_vec();
                assert_eq!(post(to, "/v1/traces", &PROTOBUF, &body).await.status, 200);
            }
        });
    }
    while let Some(exporter) = exporters.join_next().await {
        exporter.expect("every request is kept");
    }
    assert_eq!(collector.count(Table::Spans).await, 16 * 10 * 20);
    collector.stopped().await;
}
