//! Money that is held, taken and given back, and the books about it.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::acquirer::{Asked, Mood};
use crate::app::{Customer, TestApp, order};

#[tokio::test]
async fn an_authorization_moves_no_money_until_it_is_captured() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let before = app.pending().await;
    let held = hold(&ada, "k1", 500).await;
    assert_eq!(held["status"], "authorized");
    assert_eq!(app.pending().await, before, "there is nothing to tell yet");
    assert_eq!(books(&app).await, json!([]));
    let refund = ada.post(&format!("{}/refund", path(&held))).await;
    assert_eq!(
        (refund.status, &refund.body["detail"]),
        (StatusCode::CONFLICT, &json!("this payment is authorized, so it cannot be refunded"))
    );

    let capture = format!("{}/capture", path(&held));
    app.acquirer.set(Mood::Fails);
    assert_eq!(ada.post(&capture).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(ada.get(&path(&held)).await.body["status"], "capturing");
    assert_eq!(books(&app).await, json!([]));

    app.acquirer.set(Mood::Answers);
    let captured = ada.post(&capture).await;
    assert_eq!((captured.status, &captured.body["status"]), (StatusCode::OK, &json!("captured")));
    let again = ada.post(&capture).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, captured.body));
    assert_eq!(app.pending().await, before + 1, "one event, however often it was asked for");
    assert_eq!(books(&app).await, json!([["acquirer", "EUR", 500], ["merchant", "EUR", -500]]));
    assert_eq!(app.acquirer.book().values().collect::<Vec<_>>(), [&Asked { charges: 1, captures: 2, refunds: 0 }]);
    app.stop().await;
}

#[tokio::test]
async fn only_what_is_authorized_can_be_captured() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    let mut declined = order(500);
    declined["card_token"] = json!("tok_declined");
    declined["capture"] = json!(false);
    let declined = ada.pay("k1", &declined).await.body;
    assert_eq!(declined["status"], "declined");
    assert_eq!(ada.post(&format!("{}/capture", path(&declined))).await.status, StatusCode::CONFLICT);
    let held = hold(&ada, "k2", 500).await;
    assert_eq!(bob.post(&format!("{}/capture", path(&held))).await.status, StatusCode::NOT_FOUND);
    let charged_at_once = ada.pay("k2", &order(500)).await;
    assert_eq!(charged_at_once.status, StatusCode::UNPROCESSABLE_ENTITY, "holding is another request than charging");
    app.stop().await;
}

#[tokio::test]
async fn whatever_happens_the_books_sum_to_zero() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let paid = ada.pay("k1", &order(700)).await.body;
    ada.pay("k1", &order(700)).await;
    let mut yen = order(90);
    yen["currency"] = json!("JPY");
    ada.pay("k2", &yen).await;
    hold(&ada, "k3", 40).await;
    for _ in 0..2 {
        ada.post(&format!("{}/refund", path(&paid))).await;
    }
    let ledger = app.get("/internal/ledger").await.body;
    assert_eq!((&ledger["sum"], &ledger["unbalanced"], &ledger["entries"]), (&json!(0), &json!(0), &json!(6)));
    assert_eq!(
        books(&app).await,
        json!([
            ["acquirer", "EUR", 0],
            ["acquirer", "JPY", 90],
            ["merchant", "EUR", -700],
            ["merchant", "JPY", -90],
            ["refunds", "EUR", 700],
        ])
    );
    app.stop().await;
}

async fn hold(customer: &Customer<'_>, key: &str, amount_minor: i64) -> Value {
    let mut body = order(amount_minor);
    body["capture"] = json!(false);
    let held = customer.pay(key, &body).await;
    assert_eq!(held.status, StatusCode::CREATED, "{held:?}");
    held.body
}

async fn books(app: &TestApp) -> Value {
    let balances = app.get("/internal/ledger").await.body["balances"].take();
    let line = |balance: &Value| json!([balance["account"], balance["currency"], balance["balance_minor"]]);
    balances.as_array().unwrap().iter().map(line).collect()
}

fn path(payment: &Value) -> String {
    format!("/v1/payments/{}", payment["id"].as_str().unwrap())
}
