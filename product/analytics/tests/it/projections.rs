//! The sums are right, in any order of events.

use expect_test::expect;
use product_bus::Event;
use product_bus::consumer::HandlerError;
use product_bus::testing::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::stack::{DAY_NS, activity, effects, handle, payment, revenue, user, without_broker};

/// A day and a half of business.
fn story() -> Vec<Event> {
    let mut late = payment("payment.refunded", 1, 100, 1250, "EUR");
    late.time_ns += DAY_NS;
    vec![
        user("user.registered", 100),
        user("user.logged_in", 100),
        user("user.logged_in", 101),
        user("profile.updated", 100),
        payment("payment.captured", 1, 100, 1250, "EUR"),
        payment("payment.captured", 2, 101, 750, "EUR"),
        payment("payment.captured", 3, 102, 9_900, "JPY"),
        payment("payment.declined", 4, 103, 5_000, "EUR"),
        payment("payment.refunded", 2, 101, 750, "EUR"),
        late,
    ]
}

/// What the service answers after the events: revenue, activity, evidence.
async fn told(events: &[Event]) -> String {
    let place = TestDatabase::create().await;
    let server = without_broker(&place).await;
    for event in events {
        handle(&server, event).await.unwrap();
    }
    let base = format!("http://{}", server.address());
    let running = tokio::spawn(server.run(CancellationToken::new()));
    let told =
        format!("{}\n\n{}\n\n{} effects", revenue(&base).await, activity(&base).await, effects(&base).await.len());
    running.abort();
    told
}

#[tokio::test]
async fn sums_are_right_by_day_and_currency() {
    expect![[r#"
        2026-11-23 EUR captured 0 refunded 1250 payments 0
        2026-11-22 EUR captured 2000 refunded 750 payments 2
        2026-11-22 JPY captured 9900 refunded 0 payments 1

        2026-11-23 registrations 0 logins 0 profiles 0 declines 0 active 1
        2026-11-22 registrations 1 logins 2 profiles 1 declines 1 active 4

        6 effects"#]]
    .assert_eq(&told(&story()).await);
}

#[tokio::test]
async fn the_order_of_events_does_not_matter() {
    let mut backwards = story();
    backwards.reverse();
    assert_eq!(told(&backwards).await, told(&story()).await);
}

#[tokio::test]
async fn what_cannot_be_counted_is_poison_and_what_is_not_ours_is_left_alone() {
    let place = TestDatabase::create().await;
    let server = without_broker(&place).await;
    let mut nonsense = payment("payment.captured", 1, 100, 1250, "EUR");
    nonsense.data["amount_minor"] = "much".into();
    assert!(matches!(handle(&server, &nonsense).await, Err(HandlerError::Poison(_))));
    let mut newer = user("user.registered", 100);
    newer.version = 9;
    assert!(matches!(handle(&server, &newer).await, Err(HandlerError::Poison(_))));
    handle(&server, &user("user.yawned", 100)).await.unwrap();
    let base = format!("http://{}", server.address());
    let running = tokio::spawn(server.run(CancellationToken::new()));
    assert_eq!((revenue(&base).await, activity(&base).await), (String::new(), String::new()));
    running.abort();
}

#[tokio::test]
async fn a_period_is_two_days_or_an_error() {
    let place = TestDatabase::create().await;
    let server = without_broker(&place).await;
    for event in story() {
        handle(&server, &event).await.unwrap();
    }
    let base = format!("http://{}", server.address());
    let running = tokio::spawn(server.run(CancellationToken::new()));
    for (query, status, rows) in [
        ("from=2026-11-23", 200, 1),
        ("from=2026-11-22&to=2026-11-22", 200, 2),
        ("to=2026-11-21", 200, 0),
        ("from=yesterday", 400, 0),
        ("from=2026-02-30", 400, 0),
    ] {
        let answer = reqwest::get(format!("{base}/v1/revenue?{query}")).await.unwrap();
        assert_eq!((answer.status().as_u16(), query), (status, query));
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!((body.as_array().map_or(0, Vec::len), query), (rows, query));
    }
    running.abort();
}
