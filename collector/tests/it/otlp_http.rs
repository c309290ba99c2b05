//! The protocol around the message: methods, paths, content types, encodings.

use tonic::Code;

use crate::harness::{TestCollector, gzip, post, request};

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
