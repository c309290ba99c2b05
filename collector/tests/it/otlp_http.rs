//! The protocol around the message: methods, paths, content types, encodings.

use model::Table;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{TestCollector, answer, gzip, head, post, request, span, traces, zlib};

#[tokio::test]
async fn an_unknown_or_missing_content_type_is_415() {
    let collector = TestCollector::start().await;
    for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "")], &[("content-type", "\u{e9}")]]
    {
        let answer = post(collector.http, "/v1/traces", headers, b"").await;
        assert_eq!(answer.status, 415, "{headers:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "without a known encoding, the readable one"
        );
        assert!(
            answer.json()["message"].as_str().is_some_and(|message| message.contains("content type")),
            "{answer:?}"
        );
    }
    collector.stopped().await;
}

#[tokio::test]
async fn an_unknown_content_encoding_is_415_in_the_encoding_of_the_request() {
    let collector = TestCollector::start().await;
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "br")];
    let answer = post(collector.http, "/v1/traces", &headers, b"x").await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.status_message().code, Code::Unimplemented as i32);
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, zstd, identity"));
    collector.stopped().await;
}

#[tokio::test]
async fn a_body_that_is_not_what_its_encoding_says_is_400() {
    let collector = TestCollector::start().await;
    let mut cut = gzip(b"{}");
    cut.truncate(10);
    for (encoding, body) in [("gzip", &b"{}"[..]), ("gzip", &cut), ("deflate", b"{}"), ("zstd", b"{}")] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let answer = post(collector.http, "/v1/logs", &headers, body).await;
        assert_eq!(answer.status, 400, "{encoding}");
        assert!(answer.json()["message"].as_str().is_some_and(|message| message.contains(encoding)));
    }
    collector.stopped().await;
}

#[tokio::test]
async fn anything_but_post_is_405() {
    let collector = TestCollector::start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer =
            request(collector.http, method, "/v1/metrics", &[("content-type", "application/x-protobuf")], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert!(answer.status_message().message.contains(method));
    }
    collector.stopped().await;
}

#[tokio::test]
async fn an_unknown_path_is_404_and_names_the_known_ones() {
    let collector = TestCollector::start().await;
    for path in ["/", "/v1/trace", "/v1/traces/", "/v1development/profiles"] {
        let answer = post(collector.http, path, &[("content-type", "application/json")], b"{}").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["message"].as_str().is_some_and(|message| message.contains("/v1/traces")));
    }
    collector.stopped().await;
}

#[tokio::test]
async fn every_error_says_what_it_is_in_the_encoding_of_the_request() {
    let collector = TestCollector::with(&["--otlp-request-bytes-max=64"]).await;
    let (large, brotli) = ([b' '; 65], ("content-encoding", "br"));
    for media_type in ["application/json", "application/x-protobuf"] {
        let plain = [("content-type", media_type)];
        let encoded = [("content-type", media_type), brotli];
        for (code, method, path, headers, body) in [
            (400, "POST", "/v1/traces", &plain[..], &b"\xff"[..]),
            (404, "POST", "/v1/profiles", &plain[..], &b""[..]),
            (405, "GET", "/v1/traces", &plain[..], &b""[..]),
            (413, "POST", "/v1/logs", &plain[..], &large[..]),
            (415, "POST", "/v1/metrics", &encoded[..], &b"x"[..]),
        ] {
            let answer = request(collector.http, method, path, headers, body).await;
            assert_eq!((answer.status, answer.header("content-type")), (code, Some(media_type)), "{method} {path}");
            let (number, message) = match media_type {
                "application/json" => {
                    let status = answer.json();
                    (status["code"].as_i64(), status["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => {
                    let status = answer.status_message();
                    (Some(i64::from(status.code)), status.message)
                }
            };
            assert!(number > Some(0) && !message.is_empty(), "{code} {media_type}: {number:?} {message}");
            assert_eq!(answer.header("retry-after"), None, "{code} is not to be retried");
        }
    }
    collector.stopped().await;
}

#[tokio::test]
async fn the_limit_is_the_largest_that_is_taken_plain_or_inflated() {
    let collector = TestCollector::with(&["--otlp-request-bytes-max=1000"]).await;
    let body = |bytes: usize| [&vec![b' '; bytes - 2][..], b"{}"].concat();
    let (json, gzipped) =
        ([("content-type", "application/json")], [("content-type", "application/json"), ("content-encoding", "gzip")]);
    for (bytes, status) in [(1000, 200), (1001, 413)] {
        assert_eq!(post(collector.http, "/v1/logs", &json, &body(bytes)).await.status, status, "{bytes} plain");
        assert_eq!(
            post(collector.http, "/v1/logs", &gzipped, &gzip(&body(bytes))).await.status,
            status,
            "{bytes} gzip"
        );
    }
    collector.stopped().await;
}

#[tokio::test]
async fn every_compression_is_understood() {
    let collector = TestCollector::start().await;
    let message = traces(vec![span(1)]).encode_to_vec();
    let bodies = [
        ("gzip", gzip(&message)),
        ("deflate", zlib(&message)),
        ("zstd", zstd::encode_all(&message[..], 1).expect("writes to memory")),
        ("Identity", message.clone()),
    ];
    for (encoding, body) in &bodies {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", *encoding)];
        let answer = post(collector.http, "/v1/traces", &headers, body).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{encoding}: {answer:?}");
    }
    assert_eq!(collector.count(Table::Spans).await, bodies.len());
    collector.stopped().await;
}

#[tokio::test]
async fn the_answer_to_a_hundred_thousand_bad_records_is_short() {
    let collector = TestCollector::start().await;
    let mut nobody = span(1);
    nobody.trace_id = Vec::new();
    let body = traces(vec![nobody; 100_000]).encode_to_vec();
    let answer = post(collector.http, "/v1/traces", &[("content-type", "application/x-protobuf")], &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() < 4 << 20, "{} bytes", answer.body.len());
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a response");
    assert_eq!(response.partial_success.map(|partial| partial.rejected_spans), Some(100_000));
    collector.stopped().await;
}

#[tokio::test]
async fn a_body_may_come_in_chunks_of_unknown_length() {
    let collector = TestCollector::start().await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    let head = b"POST /v1/logs HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head).await.expect("it reads");
    socket.write_all(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n").await.expect("it reads");
    assert_eq!(answer(&mut socket).await.status, 200);
    collector.stopped().await;
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let collector = TestCollector::start().await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    let headers = [("content-type", "application/json"), ("expect", "100-continue")];
    socket.write_all(head("POST", "/v1/logs", &headers, 2).as_bytes()).await.expect("it reads");
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.expect("it answers before the body");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"{}").await.expect("it reads");
    assert_eq!(answer(&mut socket).await.status, 200);
    collector.stopped().await;
}

#[tokio::test]
async fn a_connection_carries_one_request_after_another() {
    let collector = TestCollector::start().await;
    let mut socket = TcpStream::connect(collector.http).await.expect("it listens");
    let headers = [("content-type", "application/json")];
    let stays = head("POST", "/v1/logs", &headers, 2).replace("connection: close\r\n", "");
    for _ in 0..3 {
        socket.write_all(stays.as_bytes()).await.expect("it reads");
        socket.write_all(b"{}").await.expect("it reads");
    }
    socket.write_all(head("POST", "/v1/logs", &headers, 2).as_bytes()).await.expect("it reads");
    socket.write_all(b"{}").await.expect("it reads");
    let mut said = String::new();
    socket.read_to_string(&mut said).await.expect("it closes in order");
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 4, "{said}");
    collector.stopped().await;
}

#[tokio::test]
async fn health_tells_what_the_store_and_the_gate_hold() {
    let collector = TestCollector::start().await;
    for path in ["/health", "/ready"] {
        let answer = request(collector.http, "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["status"], "ok");
        assert_eq!(answer.json()["store"]["failed"], false);
        assert_eq!(answer.json()["in_flight"]["bytes"], 0);
        assert_eq!(answer.json()["in_flight"]["bytes_max"], 256 << 20);
        assert_eq!(answer.json()["reasons"], serde_json::json!([]));
        assert_eq!(answer.json()["decoders"]["busy_ms"], 0);
        assert_eq!(answer.json()["store"]["signals"][0]["committing_ms"], 0);
    }
    collector.stopped().await;
}
