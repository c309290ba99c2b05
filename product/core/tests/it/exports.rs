//! A copy of everything we keep of an account.

use product_core::Mode;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{TestApp, order};

#[tokio::test]
async fn an_export_is_asked_for_and_told_to_the_jobs() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    let paid = ada.pay("k1", &order(500)).await.body;
    let asked = ada.post("/v1/exports").await;
    assert_eq!((asked.status, &asked.body["status"]), (StatusCode::ACCEPTED, &json!("requested")));
    let path = format!("/v1/exports/{}", asked.body["export_id"].as_str().unwrap());
    assert_eq!(ada.get(&path).await.body, asked.body);
    assert_eq!(bob.get(&path).await.status, StatusCode::NOT_FOUND);

    let database = app.database().await;
    let event: String = sqlx::query_scalar("SELECT data FROM outbox WHERE kind = 'account.export_requested'")
        .fetch_one(database.readers())
        .await
        .unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["export_id"], asked.body["export_id"]);
    assert_eq!(event["account"], json!({ "profile": { "display_name": "ada", "bio": "" }, "payments": [paid] }));
    app.stop().await;
}

#[tokio::test]
async fn the_copy_is_there_when_it_is_made() {
    let app = TestApp::start_with(|args| args.jobs_mode = Mode::Inline).await;
    let ada = app.customer("ada").await;
    ada.pay("k1", &order(500)).await;
    let asked = ada.post("/v1/exports").await.body;
    let made = ada.get(&format!("/v1/exports/{}", asked["export_id"].as_str().unwrap())).await;
    assert_eq!(made.body["status"], "done", "{made:?}");
    assert_eq!(made.body["export"]["account"]["payments"][0]["amount_minor"], 500);
    app.stop().await;
}
