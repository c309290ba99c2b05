//! How one stays signed in, and who is locked out.

use product_bus::database::Database;
use reqwest::StatusCode;
use serde_json::json;

use crate::app::{PASSWORD, TestApp};

#[tokio::test]
async fn a_refresh_token_is_good_for_one_next_pair() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let first = app.login("ada", PASSWORD).await.body;
    let second = app.refresh(&first["refresh_token"]).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    for key in ["token", "refresh_token"] {
        assert_ne!(first[key], second.body[key]);
    }
    let third = app.refresh(&second.body["refresh_token"]).await;
    assert_eq!(third.status, StatusCode::OK);
    for pair in [&first, &second.body, &third.body] {
        assert_eq!(app.session(&pair["token"]).await, StatusCode::OK, "an access token lasts its time");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_its_family() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (stolen, other) = (app.login("ada", PASSWORD).await.body, app.login("ada", PASSWORD).await.body);
    let next = app.refresh(&stolen["refresh_token"]).await.body;

    let again = app.refresh(&stolen["refresh_token"]).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.refresh(&next["refresh_token"]).await.status, StatusCode::UNAUTHORIZED, "nor the thief's own");
    assert_eq!(app.session(&stolen["token"]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.session(&next["token"]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.session(&other["token"]).await, StatusCode::OK, "another login is another family");
    assert_eq!(kinds(&app.database().await).await.last().unwrap(), "refresh_reused");
    app.stop().await;
}

#[tokio::test]
async fn of_two_who_show_the_same_token_at_once_one_gets_a_pair() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let pair = app.login("ada", PASSWORD).await.body;
    let (one, other) = tokio::join!(app.refresh(&pair["refresh_token"]), app.refresh(&pair["refresh_token"]));
    let mut answers = [one.status.as_u16(), other.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [200, 401]);
    app.stop().await;
}

#[tokio::test]
async fn logging_out_ends_all_that_came_from_the_login() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let next = app.refresh(&json!(ada.refresh_token)).await.body;
    assert_eq!(ada.post("/v1/logout").await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.session(&json!(ada.token)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.session(&next["token"]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.refresh(&next["refresh_token"]).await.status, StatusCode::UNAUTHORIZED);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::start_with(|args| args.core_refresh_days = 0).await;
    let ada = app.customer("ada").await;
    for token in [json!(ada.refresh_token), json!(ada.token), json!(""), json!("x".repeat(9_999))] {
        assert_eq!(app.refresh(&token).await.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    let nothing = app.post("/v1/refresh", &json!({})).await;
    assert_eq!(nothing.body["errors"], json!([{ "pointer": "#/refresh_token", "detail": "is required" }]));
    app.stop().await;
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_an_address_whether_it_is_known_or_not() {
    let app = TestApp::start_with(|args| {
        args.limits.core_lockout_failures = 3;
        args.limits.core_lockout_s = 60;
    })
    .await;
    app.register("ada").await;
    app.register("bob").await;
    let mut answers = Vec::new();
    for name in ["ada", "nobody"] {
        for _ in 0..3 {
            assert_eq!(app.login(name, "not the password").await.status, StatusCode::UNAUTHORIZED);
        }
        let locked = app.login(name, PASSWORD).await;
        assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS, "even the right password");
        let wait: u64 = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        answers.push(locked.body);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(app.login("bob", PASSWORD).await.status, StatusCode::OK, "the others come in");
    let kinds = kinds(&app.database().await).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "locked").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| *kind == "login_failed").count(), 6);
    app.stop().await;
}

#[tokio::test]
async fn the_right_password_wipes_the_slate_and_a_lock_ends() {
    let app = TestApp::start_with(|args| {
        args.limits.core_lockout_failures = 2;
        args.limits.core_lockout_s = 60;
    })
    .await;
    app.register("ada").await;
    for _ in 0..2 {
        assert_eq!(app.login("ada", "not the password").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(app.login("ada", PASSWORD).await.status, StatusCode::OK);
    }
    for _ in 0..2 {
        app.login("ada", "not the password").await;
    }
    assert_eq!(app.login("ada", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    let database = app.database().await;
    let minute_ago = "UPDATE login_failures SET last_at = last_at - 60000";
    sqlx::query(minute_ago).execute(database.writer()).await.unwrap();
    assert_eq!(app.login("ada", PASSWORD).await.status, StatusCode::OK);
    app.stop().await;
}

#[tokio::test]
async fn an_address_is_proven_once() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    let database = app.database().await;
    let event: String = sqlx::query_scalar("SELECT data FROM outbox WHERE kind = 'user.registered'")
        .fetch_one(database.readers())
        .await
        .unwrap();
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    let token = json!({ "token": event["verification_token"] });
    assert_eq!(
        app.post("/v1/verify", &json!({ "token": "0".repeat(64) })).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(verified(&database, &ada.user_id).await, None);
    assert_eq!(app.post("/v1/verify", &token).await.status, StatusCode::NO_CONTENT);
    assert!(verified(&database, &ada.user_id).await.is_some());
    let again = app.post("/v1/verify", &token).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(again.body["errors"][0]["pointer"], "#/token");
    app.stop().await;
}

#[tokio::test]
async fn the_log_of_an_account_says_what_was_done_to_it() {
    let app = TestApp::start().await;
    let ada = app.customer("ada").await;
    app.login("ada", "not the password").await;
    app.refresh(&json!(ada.refresh_token)).await;
    ada.put("/v1/profile", &json!({ "display_name": "Ada" })).await;
    ada.pay("k1", &crate::app::order(500)).await;
    ada.post("/v1/logout").await;
    assert_eq!(
        kinds(&app.database().await).await,
        ["registered", "logged_in", "login_failed", "refreshed", "profile_updated", "payment_captured", "logged_out"]
    );
    app.stop().await;
}

async fn kinds(database: &Database) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM audit_log ORDER BY at, id").fetch_all(database.readers()).await.unwrap()
}

async fn verified(database: &Database, user_id: &str) -> Option<i64> {
    let query = sqlx::query_scalar("SELECT verified_at FROM users WHERE id = $1").bind(user_id.to_owned());
    query.fetch_one(database.readers()).await.unwrap()
}
