//! Each effect of an event happens once, whatever happens to the other.

use expect_test::expect;
use product_bus::consumer::HandlerError;
use product_bus::testing::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::stack::{Merchant, effects, event, handle, receipt_path, receipts, without_broker};

#[tokio::test]
async fn an_event_that_comes_again_changes_nothing() {
    let place = TestDatabase::create().await;
    let merchant = Merchant::start(place.folder(), 0).await;
    let server = without_broker(&place, &merchant.base).await;
    for _ in 0..3 {
        handle(&server, &event(1, "payment.captured", "Two tickets")).await.unwrap();
    }
    handle(&server, &event(2, "payment.refunded", "Two tickets")).await.unwrap();
    expect![[r#"
        00000000-0000-7000-8000-000000000001.captured.html
        00000000-0000-7000-8000-000000000001.refunded.html"#]]
    .assert_eq(&receipts(place.folder()).join("\n"));
    expect![[r#"
        {"count":1,"deliveries":1,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"deliveries":1,"effect":"webhook","event_type":"payment.refunded","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
    .assert_eq(&merchant.effects().await.join("\n"));
}

#[tokio::test]
async fn a_webhook_that_fails_leaves_the_receipt_alone_when_it_is_tried_again() {
    let place = TestDatabase::create().await;
    let merchant = Merchant::start(place.folder(), 2).await;
    let server = without_broker(&place, &merchant.base).await;
    let event = event(1, "payment.captured", "Two tickets");
    let receipt = receipt_path(place.folder(), "captured");

    assert!(matches!(handle(&server, &event).await, Err(HandlerError::Retry(_))));
    // A mark by which a second rendering would be noticed.
    assert!(receipt.exists());
    std::fs::write(&receipt, "already here").unwrap();
    assert!(matches!(handle(&server, &event).await, Err(HandlerError::Retry(_))));
    handle(&server, &event).await.unwrap();

    assert_eq!(std::fs::read_to_string(&receipt).unwrap(), "already here");
    expect![[r#"{"count":1,"deliveries":1,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
        .assert_eq(&merchant.effects().await.join("\n"));
}

#[tokio::test]
async fn an_event_that_makes_no_sense_is_poison_and_an_unknown_one_is_none_of_our_business() {
    let place = TestDatabase::create().await;
    let server = without_broker(&place, "http://127.0.0.1:1").await;
    let mut bad = event(1, "payment.captured", "");
    bad.data = serde_json::json!({"payment_id": "../../etc/passwd"});
    assert!(matches!(handle(&server, &bad).await, Err(HandlerError::Poison(_))));
    let mut newer = event(2, "payment.captured", "");
    newer.version = 9;
    assert!(matches!(handle(&server, &newer).await, Err(HandlerError::Poison(_))));
    handle(&server, &event(3, "payment.declined", "")).await.unwrap();
    assert!(receipts(place.folder()).is_empty());
}

#[tokio::test]
async fn receipts_and_evidence_are_read_over_http() {
    let place = TestDatabase::create().await;
    let merchant = Merchant::start(place.folder(), 0).await;
    let server = without_broker(&place, &merchant.base).await;
    handle(&server, &event(1, "payment.captured", "<b>\"Dune\"</b> & more")).await.unwrap();
    let base = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));

    expect![[r#"
        {"count":1,"effect":"receipt","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}
        {"count":1,"effect":"webhook","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
    .assert_eq(&effects(&base).await.join("\n"));

    let receipt = reqwest::get(format!("{base}/v1/receipts/{}", crate::stack::PAYMENT)).await.unwrap();
    assert_eq!(receipt.headers()["content-type"], "text/html; charset=utf-8");
    let page = receipt.text().await.unwrap();
    assert!(page.contains("<dd>&lt;b&gt;&quot;Dune&quot;&lt;/b&gt; &amp; more</dd>"), "{page}");
    for (path, status) in [
        (format!("{}?occasion=refunded", crate::stack::PAYMENT), 404),
        (format!("{}?occasion=lost", crate::stack::PAYMENT), 400),
        ("..%2F..%2Fjobs.db".to_owned(), 404),
    ] {
        let answer = reqwest::get(format!("{base}/v1/receipts/{path}")).await.unwrap();
        assert_eq!((answer.status().as_u16(), &path), (status, &path));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    stop.cancel();
    drop(running);
}
