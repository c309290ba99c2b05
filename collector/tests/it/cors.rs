//! Web pages: they may send when their origin was named, and never with what a browser adds by itself.

use crate::harness::{TestCollector, post, request};

const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://shop.example"),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "content-type,authorization"),
];

#[tokio::test]
async fn nothing_is_said_to_browsers_unless_it_was_set_up() {
    let collector = TestCollector::start().await;
    let answer = request(collector.http, "OPTIONS", "/v1/traces", &PREFLIGHT, b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));
    let headers = [("origin", "https://shop.example"), ("content-type", "application/json")];
    let answer = post(collector.http, "/v1/traces", &headers, b"{}").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    collector.stopped().await;
}

#[tokio::test]
async fn a_named_origin_may_send_and_another_may_not() {
    let collector =
        TestCollector::with(&["--otlp-cors-origins=https://shop.example,https://pay.example", "--otlp-token=secret"])
            .await;
    let answer = request(collector.http, "OPTIONS", "/v1/logs", &PREFLIGHT, b"").await;
    assert_eq!(answer.status, 200, "a browser asks before it has credentials");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    let allowed = answer.header("access-control-allow-headers").unwrap_or_default();
    assert!(
        ["content-type", "content-encoding", "authorization"].iter().all(|name| allowed.contains(name)),
        "{allowed}"
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let page = |origin| [("origin", origin), ("content-type", "application/json"), ("authorization", "Bearer secret")];
    let answer = post(collector.http, "/v1/logs", &page("https://pay.example"), b"{}").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("https://pay.example")));
    let answer = post(collector.http, "/v1/logs", &page("https://evil.example"), b"{}").await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "its browser keeps the answer from it");
    collector.stopped().await;
}

#[tokio::test]
async fn any_origin_never_comes_with_credentials() {
    let collector = TestCollector::with(&["--otlp-cors-origins=*"]).await;
    let answer = request(collector.http, "OPTIONS", "/v1/metrics", &PREFLIGHT, b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = request(collector.http, "GET", "/metrics", &PREFLIGHT[..1], b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "pages may send, not look");
    collector.stopped().await;
}
