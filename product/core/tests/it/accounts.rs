//! Who may come in.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{PASSWORD, TestApp};

#[tokio::test]
async fn a_session_lasts_from_login_to_logout() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;

    let session = ada.get("/v1/session").await;
    assert_eq!(session.status, StatusCode::OK);
    assert_eq!(session.body["user_id"], ada.user_id.as_str());

    assert_eq!(ada.post("/v1/logout").await.status, StatusCode::NO_CONTENT);
    let session = ada.get("/v1/session").await;
    assert_eq!(session.status, StatusCode::UNAUTHORIZED);
    assert_eq!(session.headers["www-authenticate"], "Bearer");
    app.stop().await;
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let app = TestApp::start_with(|args| args.core_session_hours = 0).await;
    let ada = app.customer("ada").await;
    assert_eq!(ada.get("/v1/session").await.status, StatusCode::UNAUTHORIZED);
    app.stop().await;
}

#[tokio::test]
async fn an_address_has_one_account_in_any_spelling() {
    let app = TestApp::start().await;
    assert_eq!(app.register("ada").await.status, StatusCode::CREATED);
    assert_eq!(app.register("ada").await.status, StatusCode::CONFLICT);
    assert_eq!(app.register("  ADA").await.status, StatusCode::CONFLICT);
    app.stop().await;
}

#[tokio::test]
async fn a_refused_login_does_not_tell_who_has_an_account() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let wrong = app.login("ada", "not her password").await;
    let unknown = app.login("nobody", "not her password").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));
    app.stop().await;
}

#[tokio::test]
async fn no_password_and_no_token_is_in_the_database() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let database = app.database().await;
    let hash: String =
        sqlx::query_scalar("SELECT password_hash FROM users").fetch_one(database.readers()).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(!hash.contains(PASSWORD));
    let token: Vec<u8> =
        sqlx::query_scalar("SELECT token_hash FROM sessions").fetch_one(database.readers()).await.unwrap();
    assert_eq!(token.len(), 32);
    assert_ne!(token, ada.token.as_bytes());
    database.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_form_is_answered_field_by_field() {
    let app = TestApp::start().await;
    let body = json!({ "email": "nowhere", "password": "short", "display_name": "Ada" });
    let answer = app.post("/v1/register", &body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(fields, ["#/email", "#/password"]);
    app.stop().await;
}

#[tokio::test]
async fn a_profile_is_what_was_written_last() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    assert_eq!(ada.get("/v1/profile").await.body, json!({ "display_name": "ada", "bio": "" }));

    let profile = json!({ "display_name": "Ada Lovelace", "bio": "Notes\non the engine" });
    assert_eq!(ada.put("/v1/profile", &profile).await.status, StatusCode::OK);
    assert_eq!(ada.get("/v1/profile").await.body, profile);

    let unnamed = ada.put("/v1/profile", &json!({ "display_name": " " })).await;
    assert_eq!(unnamed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ada.get("/v1/profile").await.body, profile);
    app.stop().await;
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_so() {
    let app = TestApp::start().await;
    for (method, path) in [
        (Method::GET, "/v1/session"),
        (Method::POST, "/v1/logout"),
        (Method::GET, "/v1/profile"),
        (Method::PUT, "/v1/profile"),
        (Method::GET, "/v1/payments"),
        (Method::POST, "/v1/payments"),
        (Method::POST, "/v1/payments/0/refund"),
    ] {
        for token in [None, Some("Bearer"), Some("Bearer 0123"), Some("Basic YTpi")] {
            let mut request = app.request(method.clone(), path);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let answer = app.send(request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_flood_of_logins_is_refused_in_part_and_never_fails() {
    let app = TestApp::start_with(|args| {
        args.core_password_workers = 1;
        args.core_password_waiting_max = 1;
    })
    .await;
    app.register("ada").await;
    let flood = (0..12).map(|_| {
        let body = json!({ "email": "ada@example.org", "password": PASSWORD });
        tokio::spawn(app.request(Method::POST, "/v1/login").json(&body).send())
    });
    let mut refused = 0;
    for answer in flood.collect::<Vec<_>>() {
        let answer = answer.await.unwrap().unwrap();
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(answer.headers()["retry-after"], "1");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused < 12, "some got in");
    assert_eq!(app.login("ada", PASSWORD).await.status, StatusCode::OK);
    app.stop().await;
}
