//! Money moves once.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::acquirer::{Asked, Mood};
use crate::app::{TestApp, order};

#[tokio::test]
async fn a_payment_is_captured_and_can_be_read() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let paid = ada.pay("k1", &order(1250)).await;
    assert_eq!(paid.status, StatusCode::CREATED);
    assert_eq!(paid.headers["idempotency-replayed"], "false");
    assert_eq!(paid.body["status"], "captured");
    assert_eq!(paid.body["amount_minor"], 1250);
    assert_eq!(paid.body["currency"], "EUR");
    assert_eq!(paid.body["description"], "tea");
    assert_eq!(ada.get(&path(&paid.body)).await.body, paid.body);
    app.stop().await;
}

#[tokio::test]
async fn a_declined_card_is_an_answer_too() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let mut body = order(1250);
    body["card_token"] = json!("tok_declined");
    let paid = ada.pay("k1", &body).await;
    assert_eq!((paid.status, &paid.body["status"]), (StatusCode::CREATED, &json!("declined")));
    assert_eq!(ada.pay("k1", &body).await.body, paid.body);
    assert_eq!(ada.post(&format!("{}/refund", path(&paid.body))).await.status, StatusCode::CONFLICT);
    app.stop().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_payment() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let first = ada.pay("k1", &order(500)).await;
    // Written differently, it is still the same request.
    let again = ada
        .pay("k1", &json!({ "card_token": "tok_4242", "description": "tea", "currency": "EUR", "amount_minor": 500 }))
        .await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.body, first.body);

    let other = ada.pay("k1", &order(501)).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.acquirer.book().values().collect::<Vec<_>>(), [&Asked { charges: 1, ..Asked::default() }]);
    app.stop().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_user() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    let hers = ada.pay("k1", &order(500)).await;
    let his = bob.pay("k1", &order(700)).await;
    assert_eq!((hers.status, his.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_ne!(hers.body["id"], his.body["id"]);
    assert_eq!(bob.get(&path(&hers.body)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bob.post(&format!("{}/refund", path(&hers.body))).await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn a_key_in_flight_waits_for_its_first_request() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    app.acquirer.set(Mood::Waits);
    let first = ada.pay_in_background("k1", &order(500));
    app.acquirer.was_asked(1).await;
    let second = ada.pay("k1", &order(500)).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert_eq!(second.headers["retry-after"], "1");
    let other = ada.pay("k1", &order(501)).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);

    app.acquirer.set(Mood::Answers);
    assert_eq!(first.await.unwrap(), StatusCode::CREATED);
    assert_eq!(ada.pay("k1", &order(500)).await.status, StatusCode::CREATED);
    assert_eq!(app.acquirer.book().len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_customer_who_hangs_up_has_paid_all_the_same() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    app.acquirer.set(Mood::Waits);
    let first = ada.pay_in_background("k1", &order(500));
    app.acquirer.was_asked(1).await;
    drop(first);
    app.acquirer.set(Mood::Answers);

    let paid = loop {
        let answer = ada.pay("k1", &order(500)).await;
        match answer.status {
            StatusCode::CONFLICT => tokio::task::yield_now().await,
            _ => break answer,
        }
    };
    assert_eq!(paid.status, StatusCode::CREATED);
    assert_eq!(app.acquirer.book().values().collect::<Vec<_>>(), [&Asked { charges: 1, ..Asked::default() }]);
    app.stop().await;
}

#[tokio::test]
async fn after_an_acquirer_failure_the_key_resumes_the_same_payment() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    for mood in [Mood::Fails, Mood::Garbage] {
        app.acquirer.set(mood);
        let failed = ada.pay("k1", &order(500)).await;
        assert_eq!(failed.status, StatusCode::BAD_GATEWAY, "{mood:?}");
    }
    let listed = ada.get("/v1/payments").await;
    assert_eq!(listed.body["items"][0]["status"], "pending");

    app.acquirer.set(Mood::Answers);
    let paid = ada.pay("k1", &order(500)).await;
    assert_eq!((paid.status, &paid.body["status"]), (StatusCode::CREATED, &json!("captured")));
    assert_eq!(app.acquirer.book().len(), 1, "one payment id, however often it was asked about");
    app.stop().await;
}

#[tokio::test]
async fn an_acquirer_that_does_not_answer_in_time_is_a_bad_gateway() {
    let app = TestApp::start_with(|args| args.acquirer_timeout_ms = 50).await;
    let ada = app.customer("ada").await;
    app.acquirer.set(Mood::Waits);
    assert_eq!(ada.pay("k1", &order(500)).await.status, StatusCode::BAD_GATEWAY);
    app.stop().await;
}

#[tokio::test]
async fn a_payment_is_refunded_once() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let paid = ada.pay("k1", &order(500)).await;
    let refund = format!("{}/refund", path(&paid.body));

    app.acquirer.set(Mood::Fails);
    assert_eq!(ada.post(&refund).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(ada.get(&path(&paid.body)).await.body["status"], "refunding");

    app.acquirer.set(Mood::Answers);
    let refunded = ada.post(&refund).await;
    assert_eq!((refunded.status, &refunded.body["status"]), (StatusCode::OK, &json!("refunded")));
    let pending = app.pending().await;
    let again = ada.post(&refund).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, refunded.body));
    assert_eq!(app.pending().await, pending, "no second event");
    assert_eq!(app.acquirer.book().values().collect::<Vec<_>>(), [&Asked { charges: 1, captures: 0, refunds: 2 }]);
    // What the key was answered stays what it was.
    assert_eq!(ada.pay("k1", &order(500)).await.body, paid.body);
    app.stop().await;
}

#[tokio::test]
async fn pages_show_every_payment_once_newest_first() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    for n in 1..=5 {
        ada.pay(&format!("k{n}"), &order(n)).await;
        bob.pay(&format!("k{n}"), &order(n + 100)).await;
    }
    let (mut path, mut amounts, mut pages) = ("/v1/payments?limit=2".to_owned(), Vec::new(), 0);
    loop {
        let page = ada.get(&path).await.body;
        pages += 1;
        amounts.extend(page["items"].as_array().unwrap().iter().map(|item| item["amount_minor"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/payments?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!((pages, amounts), (3, vec![5, 4, 3, 2, 1]));
    app.stop().await;
}

fn path(payment: &Value) -> String {
    format!("/v1/payments/{}", payment["id"].as_str().unwrap())
}
