//! Switched while customers pay.

use product_core::Mode;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::{Customer, TestApp, order};
use crate::modes::stack::{ALL, JOBS, Receiver, Stack, alone, go, lines, put_mode, report, until};

const MODES: [Mode; 3] = [Mode::Inline, Mode::Dual, Mode::Events];
/// One that failed can be run again with its seed.
const SEED: u64 = 20_261_122;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_switches_lose_and_double_nothing() {
    let stack = Stack::start(Mode::Inline, Mode::Inline).await;
    let app = &stack.app;
    let mut customers = Vec::new();
    for name in ["ada", "bob", "cleo", "dan"] {
        customers.push(app.customer(name).await);
    }
    let enough = CancellationToken::new();
    let switching = async {
        let mut random = StdRng::seed_from_u64(SEED);
        for _ in 0..100 {
            let concern = ["jobs", "analytics"].choose(&mut random).unwrap();
            let percent = [0, 25, 50, 100, 100].choose(&mut random).unwrap();
            let change = json!({ "mode": MODES.choose(&mut random), "percent": percent, "force": true });
            // On a crowded machine core may be too busy for a moment, and says so.
            until("a switch", async || put_mode(app, concern, &change).await.status == StatusCode::OK).await;
            // A few payments are under way at each switch; how far is up to the machine.
            for _ in 0..random.random_range(0..50) {
                tokio::task::yield_now().await;
            }
            let asked = app.get("/v1/analytics/revenue").await.status;
            assert!(matches!(asked, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{asked}");
        }
        enough.cancel();
    };
    let paying = futures::future::join_all(customers.iter().map(|customer| pay_until(customer, &enough)));
    let (payments, ()) = tokio::join!(paying, switching);
    let payments: Vec<String> = payments.into_iter().flatten().collect();
    assert!(payments.len() >= customers.len());

    // The last events may be anybody's; whoever looks at them must be able to.
    go(app, "jobs", Mode::Events).await;
    stack.each_once(&payments, ALL).await;
    for name in ["revenue", "activity", "funnel", "top-customers"] {
        go(app, "analytics", Mode::Inline).await;
        let own = report(app, name).await;
        go(app, "analytics", Mode::Events).await;
        until("the service to count as core does", async || report(app, name).await == own).await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn an_event_belongs_to_whom_it_was_given_whatever_is_switched_then() {
    let stack = Stack::start(Mode::Events, Mode::Inline).await;
    let ada = stack.app.customer("ada").await;
    let mut payments = Vec::new();
    for (n, mode) in [Mode::Events, Mode::Inline, Mode::Events, Mode::Inline].into_iter().enumerate() {
        go(&stack.app, "jobs", mode).await;
        let paid = ada.pay(&format!("k{n}"), &order(500)).await;
        payments.push(paid.body["id"].as_str().unwrap().to_owned());
    }
    // The last word is `inline`, with both concerns: what was promised to the service is published all the same.
    stack.each_once(&payments, JOBS).await;
    let by_core = lines(&format!("http://{}", stack.app.address)).await;
    let mut by_core: Vec<_> = by_core
        .iter()
        .filter(|line| line["effect"] == "receipt")
        .map(|line| line["payment_id"].as_str().unwrap().to_owned())
        .collect();
    by_core.sort();
    let mut expected = vec![payments[1].clone(), payments[3].clone()];
    expected.sort();
    assert_eq!(by_core, expected);
    stack.stop().await;
}

#[tokio::test]
async fn a_mode_outlives_core_and_a_route_names_the_rest() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |_| ()).await;
    let change = json!({ "mode": "events", "percent": 10, "force": true });
    let changed = put_mode(&app, "jobs", &change).await;
    let route = json!({ "mode": "events", "percent": 10, "otherwise": "inline" });
    assert_eq!((changed.status, &changed.body), (StatusCode::OK, &route));
    for (concern, body, status) in [
        ("weather", json!({ "mode": "inline" }), StatusCode::NOT_FOUND),
        ("jobs", json!({ "mode": "sideways" }), StatusCode::UNPROCESSABLE_ENTITY),
        ("jobs", json!({ "mode": "inline", "percent": 101 }), StatusCode::UNPROCESSABLE_ENTITY),
        ("jobs", json!({ "mode": "inline", "percent": -1 }), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(put_mode(&app, concern, &body).await.status, status, "{body}");
    }
    let remains = app.kill().await;
    let app = TestApp::again(remains, |args| args.jobs_mode = Mode::Dual).await;
    let jobs = app.get("/internal/modes").await.body["jobs"].clone();
    assert_eq!((&jobs["mode"], &jobs["percent"], &jobs["otherwise"]), (&json!("events"), &json!(10), &json!("inline")));
    app.stop().await;
}

#[tokio::test]
async fn reports_that_are_away_are_the_only_thing_away() {
    let receiver = Receiver::start().await;
    let app = alone(Mode::Inline, &receiver, |args| {
        args.analytics_mode = Mode::Events;
        args.analytics_url = "http://127.0.0.1:1".to_owned();
    })
    .await;
    let ada = app.customer("ada").await;
    let away = app.get("/v1/analytics/revenue").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(away.headers["retry-after"], "1");
    assert_eq!(ada.pay("k1", &order(500)).await.status, StatusCode::CREATED);
    go(&app, "analytics", Mode::Inline).await;
    assert_eq!(report(&app, "revenue").await[0]["captured_minor"], 500, "back at once");
    app.stop().await;
}

/// Ids of the payments made until it is enough.
async fn pay_until(customer: &Customer<'_>, enough: &CancellationToken) -> Vec<String> {
    let mut payments = Vec::new();
    while !enough.is_cancelled() {
        // Told to come back, customers do so with the same key.
        let mut paid = customer.pay(&format!("k{}", payments.len()), &order(500)).await;
        while paid.headers.contains_key("retry-after") {
            paid = customer.pay(&format!("k{}", payments.len()), &order(500)).await;
        }
        assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
        payments.push(paid.body["id"].as_str().unwrap().to_owned());
    }
    payments
}
