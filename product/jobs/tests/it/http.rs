//! What the service tells over HTTP.

use expect_test::expect;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reqwest::Response;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stack::{PAYMENT, Stack, USER, event, handle, payment, routed};

/// A running service that has dealt with some events.
async fn running(stack: &Stack) -> String {
    let server = stack.without_broker().await;
    let jobs = server.handler();
    let requested = json!({"export_id": Uuid::from_u128(9), "user_id": USER, "account": {}});
    for event in [
        payment(1, "payment.captured", "<b>\"Dune\"</b> & more"),
        routed(payment(2, "payment.refunded", ""), "dual"),
        event(3, "account.export_requested", USER, requested),
    ] {
        handle(&jobs, &event).await.unwrap();
    }
    let base = format!("http://{}", server.address());
    tokio::spawn(server.run(CancellationToken::new()));
    base
}

async fn get(url: String) -> Response {
    reqwest::get(url).await.unwrap()
}

#[tokio::test]
async fn receipts_and_evidence_are_read() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    let evidence = get(format!("{base}/internal/effects")).await.text().await.unwrap();
    let mut lines: Vec<_> = evidence.lines().collect();
    lines.sort_unstable();
    expect![[r#"
        {"count":1,"effect":"export","event_type":"account.export_requested","payment_id":null}
        {"count":1,"effect":"mail","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"receipt","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
    .assert_eq(&lines.join("\n"));

    let receipt = get(format!("{base}/v1/receipts/{PAYMENT}")).await;
    assert_eq!(receipt.headers()["content-type"], "text/html; charset=utf-8");
    assert!(receipt.headers().contains_key("content-security-policy"));
    let page = receipt.text().await.unwrap();
    assert!(page.contains("<dd>&lt;b&gt;&quot;Dune&quot;&lt;/b&gt; &amp; more</dd>"), "{page}");
}

#[tokio::test]
async fn shadows_are_told_page_by_page() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    let page = get(format!("{base}/internal/shadow?after=1&limit=1")).await.json::<Vec<Value>>().await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!((&page[0]["seq"], &page[0]["effect"]), (&json!(2), &json!("mail")));
    assert_eq!(page[0]["event_id"], Uuid::from_u128(2).to_string());
    assert_eq!(page[0]["digest"].as_str().unwrap().len(), 64);
    let rest = get(format!("{base}/internal/shadow?after=2")).await.json::<Vec<Value>>().await.unwrap();
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn a_day_is_settled_on_request_once_it_is_over() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    let post = async |day: &str| {
        let request = reqwest::Client::new().post(format!("{base}/internal/settlements/{day}"));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    // The payment is from long ago: it is in the settlement of the last day that is over, whether the service's own clock
    // made that already or not.
    let some_minutes_ago = Timestamp::now() - SignedDuration::from_mins(5);
    let yesterday = some_minutes_ago.to_zoned(TimeZone::UTC).date().yesterday().unwrap().to_string();
    let first = post(&yesterday).await;
    assert_eq!((first.0, &first.1[0]["captured_minor"]), (200, &json!(1250)));
    assert_eq!(post(&yesterday).await, first);
    assert_eq!(post("9999-12-31").await.0, 409);
    assert_eq!(post("yesterday").await.0, 400);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let stack = Stack::new().await;
    let base = running(&stack).await;
    for (path, status) in [
        (format!("v1/receipts/{PAYMENT}?occasion=refunded"), 404),
        (format!("v1/receipts/{PAYMENT}?occasion=lost"), 400),
        ("v1/receipts/..%2F..%2Fjobs.db".to_owned(), 404),
        ("internal/shadow?after=first".to_owned(), 400),
    ] {
        let answer = get(format!("{base}/{path}")).await;
        assert_eq!((answer.status().as_u16(), &path), (status, &path));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
