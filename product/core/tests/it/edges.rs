//! What cannot be used is refused in one form, and nothing falls over.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::acquirer::Mood;
use crate::app::{TestApp, order};

#[tokio::test]
async fn unreadable_requests_are_problems() {
    let app = TestApp::start().await;
    let post = |path: &str| app.request(Method::POST, path);
    let json = |path: &str, body: &str| post(path).header("content-type", "application/json").body(body.to_owned());
    // Little beyond the limit: a server may hang up on whoever goes on sending what it has refused.
    let huge = format!(r#"{{"email":"{}"}}"#, "x".repeat(16 * 1024));
    for (request, expected) in [
        (json("/v1/register", "{"), StatusCode::BAD_REQUEST),
        (json("/v1/register", ""), StatusCode::BAD_REQUEST),
        (json("/v1/register", r#"{"email":7}"#), StatusCode::UNPROCESSABLE_ENTITY),
        (json("/v1/register", "[]"), StatusCode::UNPROCESSABLE_ENTITY),
        (json("/v1/register", &huge), StatusCode::PAYLOAD_TOO_LARGE),
        (post("/v1/register").body("{}"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (app.request(Method::DELETE, "/v1/register"), StatusCode::METHOD_NOT_ALLOWED),
        (app.request(Method::GET, "/v2/anything"), StatusCode::NOT_FOUND),
    ] {
        let answer = app.send(request).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    assert_eq!(app.get("/health").await.body, json!({ "status": "ok" }));
    app.stop().await;
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused_before_money_is_asked_for() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    for (field, value) in [
        ("amount_minor", json!(0)),
        ("amount_minor", json!(-1)),
        ("amount_minor", json!(i64::MAX)),
        ("currency", json!("eur")),
        ("description", json!("\u{0}")),
        ("description", json!("x".repeat(201))),
        ("card_token", json!("")),
        ("card_token", json!(null)),
    ] {
        let mut body = order(500);
        body[field] = value;
        let answer = ada.pay("k1", &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.body["errors"][0]["pointer"], format!("#/{field}"));
    }
    let keyless = app.send(ada.request(Method::POST, "/v1/payments").json(&order(500))).await;
    assert_eq!(keyless.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.pay(&"k".repeat(256), &order(500)).await.status, StatusCode::BAD_REQUEST);
    assert!(app.acquirer.book().is_empty());
    app.stop().await;
}

#[tokio::test]
async fn pages_have_limits() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    for (query, expected) in [
        ("limit=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("limit=101", StatusCode::UNPROCESSABLE_ENTITY),
        ("cursor=elsewhere", StatusCode::UNPROCESSABLE_ENTITY),
        ("limit=many", StatusCode::BAD_REQUEST),
        ("limit=100", StatusCode::OK),
    ] {
        assert_eq!(ada.get(&format!("/v1/payments?{query}")).await.status, expected, "{query}");
    }
    assert_eq!(ada.get("/v1/payments/42").await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn stopping_finishes_what_was_accepted() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    app.acquirer.set(Mood::Waits);
    let paying = ada.pay_in_background("k1", &order(500));
    app.acquirer.was_asked(1).await;
    app.begin_stop();
    app.acquirer.set(Mood::Answers);
    assert_eq!(paying.await.unwrap(), StatusCode::CREATED);
    app.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_one_clear_sentence() {
    let app = TestApp::start().await;
    let other = TestApp::start().await;
    let mut args = other.args();
    args.core_listen = app.address;
    let error = product_core::run(args, CancellationToken::new()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "could not listen on {}: address already in use; another process holds it, choose another with \
             --core-listen or move everything with --port-offset 10000",
            app.address
        )
    );
    other.stop().await;
    app.stop().await;
}
