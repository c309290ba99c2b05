//! What the service tells over HTTP.

use expect_test::expect;
use product_analytics::Server;
use product_bus::KafkaArgs;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, handle, story};

async fn running(stack: &Stack) -> String {
    let server = stack.without_broker().await;
    for event in story() {
        handle(server.database(), &server.handler(), &event).await.unwrap();
    }
    let base = format!("http://{}", server.address());
    tokio::spawn(server.run(CancellationToken::new()));
    base
}

#[tokio::test]
async fn reports_are_read_and_what_makes_no_sense_is_a_problem() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    for (path, status, rows) in [
        ("v1/analytics/revenue", 200, 3),
        ("v1/analytics/revenue?from=2026-11-23", 200, 1),
        ("v1/analytics/revenue?from=2026-11-22&to=2026-11-22", 200, 2),
        ("v1/analytics/activity?to=2026-11-21", 200, 0),
        ("v1/analytics/funnel", 200, 4),
        ("v1/analytics/top-customers?limit=1", 200, 2),
        ("v1/analytics/revenue?from=yesterday", 400, 0),
        ("v1/analytics/revenue?from=2026-02-30", 400, 0),
        ("v1/analytics/top-customers?limit=all", 400, 0),
        ("v1/analytics/losses", 404, 0),
        ("internal/reports/losses?through=1", 404, 0),
        ("internal/reports/revenue", 400, 0),
    ] {
        let answer = reqwest::get(format!("{base}/{path}")).await.unwrap();
        assert_eq!((answer.status().as_u16(), path), (status, path));
        let body: Value = answer.json().await.unwrap();
        assert_eq!((body.as_array().map_or(0, Vec::len), path), (rows, path));
    }
}

#[tokio::test]
async fn every_counted_event_of_a_payment_is_evidence() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    let text = reqwest::get(format!("{base}/internal/effects")).await.unwrap().text().await.unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    expect![[r#"
        {"count":1,"effect":"projection","event_type":"payment.captured","payment_id":"00000000-0000-0000-0000-000000000001"}
        {"count":1,"effect":"projection","event_type":"payment.captured","payment_id":"00000000-0000-0000-0000-000000000002"}
        {"count":1,"effect":"projection","event_type":"payment.captured","payment_id":"00000000-0000-0000-0000-000000000003"}
        {"count":1,"effect":"projection","event_type":"payment.captured","payment_id":"00000000-0000-0000-0000-000000000005"}
        {"count":1,"effect":"projection","event_type":"payment.declined","payment_id":"00000000-0000-0000-0000-000000000004"}
        {"count":1,"effect":"projection","event_type":"payment.refunded","payment_id":"00000000-0000-0000-0000-000000000001"}
        {"count":1,"effect":"projection","event_type":"payment.refunded","payment_id":"00000000-0000-0000-0000-000000000002"}"#]].assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn only_operators_read_where_a_token_is_set() {
    let stack = Stack::new().await;
    let mut args = stack.args(KafkaArgs::at("127.0.0.1:1"));
    args.operator_token = Some("let me in".to_owned());
    let server = Server::bind(args).await.unwrap();
    let base = format!("http://{}", server.address());
    tokio::spawn(server.run(CancellationToken::new()));
    for (path, without, with) in [
        ("v1/analytics/revenue", 401, 200),
        ("internal/effects", 401, 200),
        ("health", 200, 200),
        ("v1/else", 404, 404),
    ] {
        let request = reqwest::Client::new().get(format!("{base}/{path}"));
        let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
        assert_eq!(status(request.try_clone().unwrap()).await, without, "{path}");
        assert_eq!(status(request.bearer_auth("let me in")).await, with, "{path}");
    }
}
