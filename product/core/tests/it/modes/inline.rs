//! The monolith's way: the work inside the request.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use product_core::Mode;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::app::{TestApp, order};
use crate::modes::stack::{Receiver, alone, lines, put_mode, report, until};

#[tokio::test]
async fn everything_has_happened_when_the_answer_comes() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |_| ()).await;
    let ada = app.customer("ada").await;
    let paid = ada.pay("k1", &order(500)).await;
    assert_eq!(paid.status, StatusCode::CREATED);
    assert_eq!(
        told(&receiver.url, &paid.body["id"]).await,
        ["mail payment.captured 1/1", "webhook payment.captured 1/1"]
    );
    ada.post(&format!("/v1/payments/{}/refund", paid.body["id"].as_str().unwrap())).await;
    assert_eq!(told(&receiver.url, &paid.body["id"]).await.len(), 4);
    let own = lines(&format!("http://{}", app.address)).await;
    let count = |effect| own.iter().filter(|line| line["effect"] == effect).count();
    assert_eq!((count("receipt"), count("mail"), count("webhook")), (2, 3, 2), "a mail for the address, too");
    assert_eq!(app.pending().await, 0, "nobody waits for an event");
    assert_eq!(owed(&app).await, 0);
    app.stop().await;
}

#[tokio::test]
async fn reports_are_aggregated_over_what_was_just_committed() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |_| ()).await;
    let ada = app.customer("ada").await;
    for (key, amount) in [("k1", 500), ("k2", 700)] {
        ada.pay(key, &order(amount)).await;
    }
    let revenue = report(&app, "revenue").await;
    assert_eq!((&revenue[0]["captured_minor"], &revenue[0]["payments"]), (&json!(1200), &json!(2)));
    let top = report(&app, "top-customers").await;
    assert_eq!(top[0]["user_id"], ada.user_id.as_str());
    let activity = report(&app, "activity").await;
    assert_eq!((&activity[0]["registrations"], &activity[0]["logins"]), (&json!(1), &json!(1)));
    assert_eq!(report(&app, "funnel").await[3], json!({ "step": "second_payment", "users": 1 }));
    assert_eq!(app.get("/v1/analytics/weather").await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get("/v1/analytics/revenue?from=yesterday").await.status, StatusCode::BAD_REQUEST);
    app.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_costs_the_customer_nothing_and_is_told_later() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |_| ()).await;
    let ada = app.customer("ada").await;
    for (key, target) in [("k1", "webhook"), ("k2", "mail")] {
        receiver.refuses(target).await;
        let paid = ada.pay(key, &order(500)).await;
        assert_eq!((paid.status, &paid.body["status"]), (StatusCode::CREATED, &json!("captured")));
        assert_eq!(owed(&app).await, 1);
        receiver.takes_again().await;
        until("the sweeper", async || owed(&app).await == 0).await;
        let both = ["mail payment.captured 1/1", "webhook payment.captured 1/1"];
        assert_eq!(told(&receiver.url, &paid.body["id"]).await, both);
    }
    app.stop().await;
}

#[tokio::test]
async fn killed_in_the_middle_it_finishes_each_effect_once() {
    let receiver = Receiver::start().await;
    let door = Door::start(&receiver.url).await;
    let app = alone(Mode::Inline, &receiver, |args| args.receivers.webhook_url.clone_from(&door.url)).await;
    let ada = app.customer("ada").await;
    door.hold(true);
    let paying = ada.pay_in_background("k1", &order(500));
    // The money is taken, the receipt written, the mail delivered; the webhook has arrived and core has not heard so.
    door.was_passed(1).await;
    drop(paying);
    let remains = app.kill().await;
    door.hold(false);

    let app = TestApp::again(remains, |args| receiver.introduce(args)).await;
    until("what was left", async || owed(&app).await == 0).await;
    let ada = app.login("ada", crate::app::PASSWORD).await;
    let token = ada.body["token"].as_str().unwrap();
    let payments = app.send(app.request(reqwest::Method::GET, "/v1/payments").bearer_auth(token)).await;
    assert_eq!(payments.body["items"][0]["status"], "captured");
    let id = &payments.body["items"][0]["id"];
    let once = ["mail payment.captured 1/1", "webhook payment.captured 1/2"];
    assert_eq!(told(&receiver.url, id).await, once, "the webhook came again, with the key by which it is known");
    let receipts = lines(&format!("http://{}", app.address)).await;
    let receipts: Vec<_> = receipts.iter().filter(|line| line["effect"] == "receipt").collect();
    assert_eq!((receipts.len(), &receipts[0]["count"]), (1, &json!(1)));
    app.stop().await;
}

#[tokio::test]
async fn what_operators_may_do_is_for_operators() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |args| args.operator_token = Some("let me in".to_owned())).await;
    let ada = app.customer("ada").await;
    for path in ["/internal/modes", "/internal/mismatches", "/v1/analytics/revenue"] {
        assert_eq!(app.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ada.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        let request = app.request(reqwest::Method::GET, path).bearer_auth("let me in");
        assert_eq!(app.send(request).await.status, StatusCode::OK, "{path}");
    }
    let refused = put_mode(&app, "jobs", &json!({ "mode": "events" })).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    app.stop().await;
}

/// What a receiver got about a payment: effect, event, how many and how often, sorted.
async fn told(url: &str, payment: &Value) -> Vec<String> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let lines = lines(url).await.into_iter().filter(|line| line["payment_id"] == *payment);
    let mut told: Vec<_> = lines
        .map(|line| {
            let (effect, event) = (text(&line, "effect"), text(&line, "event_type"));
            format!("{effect} {event} {}/{}", line["count"], line["deliveries"])
        })
        .collect();
    told.sort();
    told
}

/// Events whose work core has not finished.
async fn owed(app: &TestApp) -> i64 {
    let database = app.database().await;
    let owed = sqlx::query_scalar("SELECT COUNT(*) FROM inline_jobs").fetch_one(database.readers()).await.unwrap();
    database.close().await;
    owed
}

/// Stands before a receiver; what it lets in it can keep from answering.
struct Door {
    url: String,
    holds: watch::Sender<bool>,
    passed: watch::Sender<u32>,
    _server: AbortOnDropHandle<()>,
}

impl Door {
    async fn start(behind: &str) -> Door {
        let (holds, passed) = (watch::Sender::new(false), watch::Sender::new(0));
        let (gate, count) = (holds.subscribe(), passed.clone());
        let (behind, client) = (Arc::new(format!("{behind}/v1/webhooks")), reqwest::Client::new());
        let pass = post(async move |mut headers: HeaderMap, body: String| {
            headers.remove("host");
            let answer = client.post(behind.as_str()).headers(headers).body(body).send().await.unwrap();
            count.send_modify(|count| *count += 1);
            gate.clone().wait_for(|holds| !holds).await.unwrap();
            answer.status()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/webhooks", pass);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Door { url, holds, passed, _server: AbortOnDropHandle::new(server) }
    }

    fn hold(&self, hold: bool) {
        self.holds.send_replace(hold);
    }

    async fn was_passed(&self, times: u32) {
        self.passed.subscribe().wait_for(|passed| *passed >= times).await.unwrap();
    }
}
