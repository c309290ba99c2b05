//! `GET /v1/traces/{id}` and `GET /v1/services`.

use expect_test::expect;
use query::Limits;
use serde_json::Value;

use crate::fixture::{BATCH, Fixture, PAYMENT, Served};

fn draw(span: &Value, depth: usize, text: &mut String) {
    text.push_str(&format!(
        "{}{} {}\n",
        "  ".repeat(depth),
        span["service"].as_str().unwrap(),
        span["name"].as_str().unwrap()
    ));
    for child in span["children"].as_array().unwrap() {
        draw(child, depth + 1, text);
    }
}

async fn tree(served: &Served, id: &str) -> String {
    let (status, story) = served.get(&format!("/v1/traces/{id}")).await;
    assert_eq!(status, 200, "{story}");
    let mut text = String::new();
    for root in story["spans"].as_array().unwrap() {
        draw(root, 0, &mut text);
    }
    for log in story["logs"].as_array().unwrap() {
        text.push_str(&format!("log {}\n", log["body"].as_str().unwrap()));
    }
    text
}

#[tokio::test]
async fn a_payment_is_one_story_over_its_links() {
    for fixture in [Fixture::hot().await, Fixture::cold().await] {
        let served = fixture.serve(Limits::default()).await;
        let of_payment = expect![[r#"
            core POST /v1/payments
              core POST
                acquirer POST /v1/charges
              core INSERT payments
              core send payments
                jobs process payments
            analytics process payments
              analytics UPDATE revenue
            log the acquirer said no
            log counted
        "#]];
        of_payment.assert_eq(&tree(&served, PAYMENT).await);
        of_payment.assert_eq(&tree(&served, &PAYMENT.to_uppercase()).await);
        let of_batch = expect![[r#"
            core POST /v1/payments
              core POST
                acquirer POST /v1/charges
              core INSERT payments
              core send payments
                jobs process payments
            core send payments
            analytics process payments
              analytics UPDATE revenue
            log the acquirer said no
            log counted
        "#]];
        of_batch.assert_eq(&tree(&served, BATCH).await);
    }
}

#[tokio::test]
async fn otlp_gives_back_what_is_stored() {
    let fixture = Fixture::cold().await;
    let served = fixture.serve(Limits::default()).await;
    let (_, by_parameter) = served.get(&format!("/v1/traces/{PAYMENT}?format=otlp")).await;
    let request = served
        .http
        .get(format!("{}/v1/traces/{PAYMENT}", served.url))
        .header("accept", "application/json; profile=otlp");
    let by_profile: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(by_parameter, by_profile);
    let spans: usize = by_parameter["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|resource| resource["scopeSpans"].as_array().unwrap())
        .map(|scope| scope["spans"].as_array().unwrap().len())
        .sum();
    assert_eq!(spans, 8);
    assert!(by_parameter["resourceLogs"].to_string().contains("the acquirer said no"));
}

#[tokio::test]
async fn a_bad_id_and_an_unknown_one_are_told_apart() {
    let fixture = Fixture::hot().await;
    let served = fixture.serve(Limits::default()).await;
    let (status, error) = served.get("/v1/traces/xyz").await;
    assert_eq!((status, error["error"].as_str().unwrap().contains("32 hex digits")), (400, true), "{error}");
    let unknown = "ffffffffffffffffffffffffffffffff";
    let (status, error) = served.get(&format!("/v1/traces/{unknown}")).await;
    assert_eq!((status, error["error"].as_str().unwrap().contains(unknown)), (404, true), "{error}");
    let (status, _) = served.get(&format!("/v1/traces/{PAYMENT}?format=xml")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn services_say_when_they_were_seen_and_what_they_do() {
    let fixture = Fixture::cold().await;
    let served = fixture.serve(Limits::default()).await;
    let (status, services) = served.get("/v1/services").await;
    assert_eq!(status, 200);
    expect![[r#"
        {
          "errors": 1,
          "first_seen": "2026-11-22T12:00:00.000000000Z",
          "kinds": {
            "Client": 2,
            "Producer": 2,
            "Server": 1
          },
          "last_seen": "2026-11-22T12:00:00.080000000Z",
          "name": "core",
          "spans": 5
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&services[2]).unwrap());
    assert_eq!(services.as_array().unwrap().len(), 4);
}
