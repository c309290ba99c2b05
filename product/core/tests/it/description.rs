//! The API describes itself, and answers as any browser should be answered.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn every_operation_is_served_and_says_how_it_refuses() {
    let app = TestApp::start().await;
    let description = app.get("/openapi.json").await.body;
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let mut operations = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
            for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{name} {status}");
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = app
                .request(method, &path.replace("{id}", "0").replace("{report}", "revenue").replace("{concern}", "jobs"))
                .send()
                .await
                .unwrap();
            let status = answer.status();
            assert!(!matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED), "{name}: {status}");
            assert!(responses.contains_key(status.as_str()), "{name} answered {status}, which it does not announce");
        }
    }
    assert!(operations >= 18, "{operations}");
    app.stop().await;
}

#[tokio::test]
async fn the_description_is_whole() {
    let app = TestApp::start().await;
    let description = app.get("/openapi.json").await.body;
    let text = description.to_string();
    for reference in text.split(r##""$ref":"#"##).skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(description.pointer(reference).is_some(), "{reference} leads nowhere");
    }
    let statuses = description.pointer("/components/schemas/Status/enum").unwrap();
    assert!(
        statuses.as_array().unwrap().iter().any(|status| status == "captured"),
        "two schemas of one name: {statuses}"
    );
    let operations =
        description["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len(), "{names:?}");
    app.stop().await;
}

#[tokio::test]
async fn the_page_is_complete_in_itself() {
    let app = TestApp::start().await;
    let page = app.get("/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let Value::String(html) = page.body else { panic!("no page") };
    for part in ["POST</b> /v1/payments", "Idempotency-Key", "card_token", "/openapi.json"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
    app.stop().await;
}

#[tokio::test]
async fn every_answer_carries_what_a_browser_needs_to_be_careful() {
    let app = TestApp::start().await;
    for path in ["/health", "/v1/session", "/nowhere", "/openapi.json", "/docs"] {
        let headers = app.get(path).await.headers;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"), "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn one_account_out_of_hand_is_told_to_wait_and_the_others_are_not() {
    let app = TestApp::start_with(|args| {
        args.limits.core_account_requests_per_s = 1;
        args.limits.core_account_requests_burst = 3;
    })
    .await;
    let (ada, bob) = (app.customer("ada").await, app.customer("bob").await);
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(ada.get("/v1/session").await);
    }
    let told = answers.iter().find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).expect("20 are too many");
    assert_eq!(told.headers["retry-after"], "1");
    assert!(answers.iter().take(3).all(|answer| answer.status == StatusCode::OK), "a burst is welcome");
    assert_eq!(bob.get("/v1/session").await.status, StatusCode::OK);
    app.stop().await;
}
