//! Small requests that arrive at once become rows together; each is answered as if it had been alone.

use std::sync::Arc;

use futures::future::join_all;
use model::Table;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::sync::Barrier;

use crate::harness::{TestCollector, gzip, post, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const REQUESTS: u64 = 60;

/// Status, spans rejected, and what else is said.
type Answer = (u16, i64, String);

/// Requests of one span each, all at once: every fifth with a span that makes no sense beside it, of every seventh only half of the
/// bytes, every other one compressed.
async fn answers(collector: &TestCollector) -> Vec<Answer> {
    let (http, ready) = (collector.http, Arc::new(Barrier::new(REQUESTS as usize)));
    let send = |number: u64| {
        let ready = Arc::clone(&ready);
        async move {
            let mut spans = vec![span(number)];
            if number.is_multiple_of(5) {
                spans.insert(0, opentelemetry_proto::tonic::trace::v1::Span::default());
            }
            let mut body = traces(spans).encode_to_vec();
            if number.is_multiple_of(7) {
                body.truncate(body.len() / 2);
            }
            let mut headers = PROTOBUF.to_vec();
            if number.is_multiple_of(2) {
                headers.push(("content-encoding", "gzip"));
                body = gzip(&body);
            }
            ready.wait().await;
            let answer = post(http, "/v1/traces", &headers, &body).await;
            let Ok(said) = ExportTraceServiceResponse::decode(&answer.body[..]) else {
                return (answer.status, 0, "not a response".to_owned());
            };
            let partial =
                if answer.status == 200 { said.partial_success.unwrap_or_default() } else { Default::default() };
            (answer.status, partial.rejected_spans, partial.error_message)
        }
    };
    join_all((1..=REQUESTS).map(send)).await
}

async fn check(settings: &[&str]) {
    let collector = TestCollector::with(settings).await;
    for _ in 0..3 {
        for (number, (status, rejected, message)) in (1..).zip(answers(&collector).await) {
            let (broken, rejects) = (number % 7 == 0, number % 5 == 0 && number % 7 != 0);
            assert_eq!(status, if broken { 400 } else { 200 }, "request {number}: {message}");
            assert_eq!(rejected, i64::from(rejects), "request {number}: {message}");
            assert_eq!(message.contains("a trace id is 16 bytes"), rejects, "request {number}: {message}");
        }
    }
    let kept = REQUESTS - REQUESTS / 7;
    assert_eq!(collector.count(Table::Spans).await as u64, 3 * kept);
    let (_, health) = collector.health().await;
    assert_eq!(health["store"]["signals"][0]["rows"], 3 * kept);
    collector.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_hears_what_became_of_its_own_request() {
    check(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_group_at_a_time_leaves_nobody_behind() {
    check(&["--otlp-decoders-max=1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn they_share_commits() {
    let collector = TestCollector::with(&["--otlp-decoders-max=1"]).await;
    let ready = Arc::new(Barrier::new(REQUESTS as usize));
    let send = |number: u64| {
        let (http, ready) = (collector.http, Arc::clone(&ready));
        async move {
            ready.wait().await;
            for round in 0..10 {
                let body = traces(vec![span(number * 100 + round)]).encode_to_vec();
                assert_eq!(post(http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
            }
        }
    };
    join_all((1..=REQUESTS).map(send)).await;
    let (_, health) = collector.health().await;
    let traces = &health["store"]["signals"][0];
    assert_eq!(traces["rows"], 10 * REQUESTS);
    assert_eq!(traces["requests"], 10 * REQUESTS);
    let commits = traces["commits"].as_u64().expect("a number");
    assert!(commits < 2 * REQUESTS, "{commits} commits for {} requests", 10 * REQUESTS);
    collector.stopped().await;
}
