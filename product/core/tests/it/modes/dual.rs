//! Side by side: core does the work, the service shows what it would have done, customers notice nothing.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode as Status;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use product_core::Mode;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::app::order;
use crate::modes::stack::{ALL, Receiver, Stack, alone, comparison, go, put_mode, report, until};

#[tokio::test]
async fn two_that_agree_may_be_exchanged() {
    let stack = Stack::start(Mode::Inline, Mode::Inline).await;
    let app = &stack.app;
    let ada = app.customer("ada").await;
    for concern in ["jobs", "analytics"] {
        let refused = put_mode(app, concern, &json!({ "mode": "events" })).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "nothing was compared: {refused:?}");
        go(app, concern, Mode::Dual).await;
    }
    let mut payments = Vec::new();
    for n in 1..=5 {
        let paid = ada.pay(&format!("k{n}"), &order(n * 100)).await;
        payments.push(paid.body["id"].as_str().unwrap().to_owned());
        report(app, "revenue").await;
    }
    // Each of five payments has a receipt, a mail and a webhook; every report is asked at least once.
    until("the comparison of jobs", async || comparison(app, "jobs").await["matched"].as_i64() >= Some(15)).await;
    until("the comparison of reports", async || comparison(app, "analytics").await["matched"].as_i64() >= Some(4))
        .await;
    for concern in ["jobs", "analytics"] {
        until("a clean comparison", async || comparison(app, concern).await["clean"] == true).await;
        let promoted = put_mode(app, concern, &json!({ "mode": "events", "percent": 25 })).await;
        assert_eq!(promoted.status, StatusCode::OK, "{promoted:?}");
        assert_eq!(promoted.body, json!({ "mode": "events", "percent": 25, "otherwise": "dual" }));
        go(app, concern, Mode::Events).await;
    }
    assert_eq!(app.get("/internal/mismatches").await.body, json!([]));
    stack.each_once(&payments, ALL).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_candidate_that_fails_is_no_concern_of_customers() {
    let receiver = Receiver::start().await;
    for failure in [Failure::Away, Failure::Error, Failure::Garbage] {
        let candidate = Candidate::start(failure).await;
        let app = alone(Mode::Dual, &receiver, |args| {
            args.analytics_mode = Mode::Dual;
            args.jobs_url.clone_from(&candidate.url);
            args.analytics_url.clone_from(&candidate.url);
        })
        .await;
        let ada = app.customer("ada").await;
        for n in 1..=3 {
            assert_eq!(ada.pay(&format!("k{n}"), &order(500)).await.status, StatusCode::CREATED, "{failure:?}");
            assert_eq!(report(&app, "revenue").await[0]["payments"], n, "{failure:?}");
        }
        for concern in ["jobs", "analytics"] {
            let comparison = comparison(&app, concern).await;
            assert_eq!((&comparison["matched"], &comparison["clean"]), (&json!(0), &json!(false)), "{failure:?}");
            let refused = put_mode(&app, concern, &json!({ "mode": "events" })).await;
            assert_eq!(refused.status, StatusCode::CONFLICT, "{failure:?}");
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn a_mismatch_is_kept_and_stops_the_promotion() {
    let receiver = Receiver::start().await;
    let candidate = Candidate::start(Failure::None).await;
    let app = alone(Mode::Dual, &receiver, |args| {
        args.analytics_mode = Mode::Dual;
        args.jobs_url.clone_from(&candidate.url);
        args.analytics_url.clone_from(&candidate.url);
    })
    .await;
    let ada = app.customer("ada").await;
    ada.pay("k1", &order(500)).await;
    let database = app.database().await;
    let digests = sqlx::query_as::<_, (String, String, String)>("SELECT event_id, effect, digest FROM digests");
    let digests = digests.fetch_all(database.readers()).await.unwrap();
    database.close().await;
    let wrong = digests.iter().zip(1..).map(|((event, effect, digest), seq)| {
        let digest = if effect == "webhook" { "another" } else { digest };
        json!({ "seq": seq, "event_id": event, "effect": effect, "digest": digest })
    });
    candidate.say(wrong.collect(), json!({ "applied": 3, "rows": [] })); // registered, logged in, captured

    until("a mismatch of jobs", async || comparison(&app, "jobs").await["mismatched"] == 1).await;
    until("mismatches of reports", async || comparison(&app, "analytics").await["mismatched"].as_i64() > Some(0)).await;
    let found = app.get("/internal/mismatches?concern=jobs").await.body;
    let (event, _, digest) = digests.iter().find(|(_, effect, _)| effect == "webhook").unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&found[0]["key"], &found[0]["field"]), (&json!(event), &json!("webhook")));
    assert_eq!((&found[0]["control"], &found[0]["candidate"]), (&json!(digest), &json!("another")));
    let found = app.get("/internal/mismatches?concern=analytics").await.body;
    assert_eq!((&found[0]["field"], &found[0]["candidate"]), (&json!("row"), &Value::Null), "{found}");

    for concern in ["jobs", "analytics"] {
        let refused = put_mode(&app, concern, &json!({ "mode": "events" })).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        assert!(refused.body["detail"].as_str().unwrap().contains("/internal/mismatches"), "{refused:?}");
        let back = put_mode(&app, concern, &json!({ "mode": "inline" })).await;
        assert_eq!(back.status, StatusCode::OK, "going back needs nothing");
        go(&app, concern, Mode::Dual).await;
        assert_eq!(
            comparison(&app, concern).await["mismatched"],
            0,
            "a new comparison, of a candidate that was mended"
        );
    }
    assert!(!app.get("/internal/mismatches").await.body.as_array().unwrap().is_empty(), "what was found stays");
    app.stop().await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    None,
    Away,
    Error,
    Garbage,
}

/// Both services as core sees them, saying what the test wants.
struct Candidate {
    url: String,
    says: Arc<Mutex<(Vec<Value>, Value)>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Mouth {
    failure: Failure,
    says: Arc<Mutex<(Vec<Value>, Value)>>,
}

#[derive(serde::Deserialize)]
struct After {
    after: i64,
}

impl Candidate {
    async fn start(failure: Failure) -> Candidate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new((Vec::new(), json!({ "applied": -1, "rows": [] }))));
        let router = Router::new()
            .route("/internal/shadow", get(shadow))
            .route("/internal/reports/{report}", get(rows))
            .with_state(Mouth { failure, says: says.clone() });
        let server = tokio::spawn(async move {
            if failure != Failure::Away {
                axum::serve(listener, router).await.unwrap();
            } // else the port closes
        });
        Candidate { url, says, _server: AbortOnDropHandle::new(server) }
    }

    fn say(&self, digests: Vec<Value>, report: Value) {
        *self.says.lock().unwrap() = (digests, report);
    }
}

async fn shadow(State(mouth): State<Mouth>, Query(after): Query<After>) -> Response {
    let digests = mouth.says.lock().unwrap().0.clone();
    let new = digests.into_iter().filter(|digest| digest["seq"].as_i64() > Some(after.after));
    mouth.answer(new.collect())
}

async fn rows(State(mouth): State<Mouth>) -> Response {
    let report = mouth.says.lock().unwrap().1.clone();
    mouth.answer(report)
}

impl Mouth {
    fn answer(&self, answer: Value) -> Response {
        match self.failure {
            Failure::Error => Status::INTERNAL_SERVER_ERROR.into_response(),
            Failure::Garbage => "[{".into_response(),
            Failure::None | Failure::Away => axum::Json(answer).into_response(),
        }
    }
}
