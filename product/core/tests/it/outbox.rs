//! An event exists exactly when what it tells of does.

use std::net::SocketAddr;
use std::time::Duration;

use product_bus::broker;
use product_bus::database::Dialect;
use reqwest::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::acquirer::Mood;
use crate::app::{TestApp, order};

/// Far beyond what it takes; a failure, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn every_write_leaves_its_event_and_no_broker_is_needed() {
    let app = TestApp::start().await;
    assert_eq!(app.pending().await, 0);
    let ada = app.customer("ada").await; // user.registered, user.logged_in
    assert_eq!(app.pending().await, 2);
    ada.put("/v1/profile", &json!({ "display_name": "Ada", "bio": "" })).await;
    assert_eq!(app.pending().await, 3);
    let paid = ada.pay("k1", &order(500)).await;
    assert_eq!(app.pending().await, 4);
    ada.pay("k1", &order(500)).await; // a replay is no event
    assert_eq!(app.pending().await, 4);
    ada.post(&format!("/v1/payments/{}/refund", paid.body["id"].as_str().unwrap())).await;
    assert_eq!(app.pending().await, 5);
    app.stop().await;
}

#[tokio::test]
async fn what_did_not_happen_leaves_no_event() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let before = app.pending().await;
    app.register("ada").await;
    app.login("ada", "not her password").await;
    app.acquirer.set(Mood::Fails);
    ada.pay("k1", &order(500)).await;
    ada.get("/v1/payments").await;
    assert_eq!(app.pending().await, before);
    app.stop().await;
}

#[tokio::test]
async fn a_payment_without_its_event_is_not_captured_and_can_be_resumed() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let before = app.pending().await;
    let database = app.database().await;
    let (fill, clear) = match database.dialect() {
        Dialect::Sqlite => (
            "CREATE TRIGGER no_room BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no room'); END",
            "DROP TRIGGER no_room",
        ),
        Dialect::Postgres => (
            "ALTER TABLE outbox ADD CONSTRAINT no_room CHECK (id < 0) NOT VALID",
            "ALTER TABLE outbox DROP CONSTRAINT no_room",
        ),
    };
    sqlx::query(fill).execute(database.writer()).await.unwrap();
    let failed = ada.pay("k1", &order(500)).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.body.get("detail"), None, "the cause is for the log");
    assert_eq!(ada.get("/v1/payments").await.body["items"][0]["status"], "pending");
    assert_eq!(app.pending().await, before);

    sqlx::query(clear).execute(database.writer()).await.unwrap();
    let paid = ada.pay("k1", &order(500)).await;
    assert_eq!((paid.status, &paid.body["status"]), (StatusCode::CREATED, &json!("captured")));
    assert_eq!(app.pending().await, before + 1);
    assert_eq!(app.acquirer.book().len(), 1);
    database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn what_waited_for_the_broker_is_published_when_it_comes() {
    let listen = broker::Args { broker_listen: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let broker = broker::Broker::bind(listen).await.unwrap();
    let address = broker.address().to_string();
    let app = TestApp::start_with(|args| args.kafka.bootstrap_servers = address).await;
    let ada = app.customer("ada").await;
    assert_eq!(ada.pay("k1", &order(500)).await.status, StatusCode::CREATED);
    assert_eq!(app.pending().await, 3, "nobody serves the broker's port yet");

    let stop = CancellationToken::new();
    let running = tokio::spawn(broker.run(stop.clone()));
    let published = async {
        while app.pending().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.unwrap();
    app.stop().await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
