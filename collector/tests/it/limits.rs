//! What is too much: for one request, for all of them, for the store.

use model::Table;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{TRACES, TestCollector, call, eventually, framed, gzip, head, post, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const GZIPPED: [(&str, &str); 2] = [("content-type", "application/json"), ("content-encoding", "gzip")];
const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_hundred_mebibytes_are_too_large_in_both_protocols() {
    let collector = TestCollector::start().await;
    let body = vec![0; 100 * MIB];
    let answer = post(collector.http, "/v1/traces", &PROTOBUF, &body).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.status_message().code, Code::ResourceExhausted as i32);

    let status = call(collector.grpc, TRACES, &[], framed(0, &body)).await.status;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_none(), "a delay would make exporters send it again");
    nothing_is_held(&collector).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_bomb_is_refused_while_it_inflates() {
    let collector = TestCollector::start().await;
    let bomb = gzip(&vec![b' '; 100 * MIB]);
    assert!(bomb.len() < MIB);
    let answer = post(collector.http, "/v1/logs", &GZIPPED, &bomb).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["code"], Code::ResourceExhausted as i32);

    let status = call(collector.grpc, TRACES, &[("grpc-encoding", "gzip")], framed(1, &bomb)).await.status;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_none());
    nothing_is_held(&collector).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_full_store_asks_to_come_back() {
    let collector = TestCollector::with(&["--unwritten-bytes-max=8"]).await;
    let message = traces(vec![span(1)]).encode_to_vec();
    comes_back_later(&collector, &message).await;
    assert_eq!(collector.count(Table::Spans).await, 0);
    collector.stopped().await;
}

#[tokio::test]
async fn full_memory_asks_to_come_back() {
    let collector = TestCollector::with(&["--otlp-in-flight-bytes-max=16"]).await;
    let message = traces(vec![span(1)]).encode_to_vec();
    comes_back_later(&collector, &message).await;
    assert!(collector.health().await.1["in_flight"]["bytes_refused"].as_u64() >= Some(3));
    nothing_is_held(&collector).await;
    collector.stopped().await;
}

#[tokio::test]
async fn a_request_too_many_asks_to_come_back_and_finds_a_place_later() {
    let collector = TestCollector::with(&["--otlp-requests-max=1"]).await;
    let mut stalled = TcpStream::connect(collector.http).await.expect("it listens");
    stalled.write_all(head("POST", "/v1/traces", &PROTOBUF, 1000).as_bytes()).await.expect("it reads");
    eventually("its place is taken", async || collector.health().await.1["in_flight"]["requests"] == 1).await;
    let message = traces(vec![span(1)]).encode_to_vec();
    comes_back_later(&collector, &message).await;
    assert!(collector.health().await.1["in_flight"]["requests_refused"].as_u64() >= Some(3));
    drop(stalled);
    nothing_is_held(&collector).await;
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &message).await.status, 200);
    collector.stopped().await;
}

async fn comes_back_later(collector: &TestCollector, message: &[u8]) {
    let answer = post(collector.http, "/v1/traces", &PROTOBUF, message).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()) >= Some(1), "{answer:?}");
    assert_eq!(answer.status_message().code, Code::Unavailable as i32);

    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"long enough not to fit"}]}]}]}"#;
    let answer = post(collector.http, "/v1/traces", &[("content-type", "application/json")], json).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["details"][0]["@type"], "type.googleapis.com/google.rpc.RetryInfo");

    let status = call(collector.grpc, TRACES, &[], framed(0, message)).await.status;
    assert_eq!(status.code(), Code::Unavailable);
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
}

#[tokio::test]
async fn headers_beyond_their_limit_are_refused() {
    let collector = TestCollector::start().await;
    let long = "x".repeat(64 << 10);
    let answer =
        post(collector.http, "/v1/traces", &[("content-type", "application/json"), ("x-long", &long)], b"").await;
    assert_eq!(answer.status, 431);
    collector.stopped().await;
}

/// Room is given back a moment after the answer, when the request is dropped.
async fn nothing_is_held(collector: &TestCollector) {
    eventually("every byte in flight is given back", async || {
        let health = collector.health().await.1;
        health["in_flight"]["bytes"] == 0 && health["in_flight"]["requests"] == 0
    })
    .await;
}
