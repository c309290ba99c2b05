//! An acquirer over HTTP that fails or waits when the test says so, and remembers what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Fails,
    Garbage,
    /// Takes the question and answers when the mood changes.
    Waits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) charges: u32,
    pub(crate) captures: u32,
    pub(crate) refunds: u32,
}

pub(crate) struct Acquirer {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    asked: watch::Sender<u32>,
    book: Arc<Mutex<BTreeMap<String, Asked>>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Desk {
    mood: watch::Receiver<Mood>,
    asked: watch::Sender<u32>,
    book: Arc<Mutex<BTreeMap<String, Asked>>>,
}

impl Acquirer {
    pub(crate) async fn start() -> Acquirer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, watched) = watch::channel(Mood::Answers);
        let (asked, _) = watch::channel(0);
        let book = Arc::default();
        let desk = Desk { mood: watched, asked: asked.clone(), book: Arc::clone(&book) };
        let router = Router::new()
            .route("/v1/charges", post(charge))
            .route("/v1/charges/{id}/capture", post(capture))
            .route("/v1/charges/{id}/refund", post(refund))
            .with_state(desk);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Acquirer { address, mood, asked, book, _server: AbortOnDropHandle::new(server) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Until so many questions have arrived.
    pub(crate) async fn was_asked(&self, times: u32) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// What it was asked about each payment.
    pub(crate) fn book(&self) -> BTreeMap<String, Asked> {
        self.book.lock().unwrap().clone()
    }
}

async fn charge(
    State(desk): State<Desk>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Result<axum::Json<Value>, StatusCode> {
    let id = body["payment_id"].as_str().unwrap().to_owned();
    assert_eq!(headers["idempotency-key"], id.as_str());
    desk.note(&id, |asked| asked.charges += 1);
    let status = if body["card_token"] == "tok_declined" { "declined" } else { "approved" };
    desk.answer(json!({ "charge_id": format!("ch_{id}"), "status": status })).await
}

async fn capture(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, StatusCode> {
    assert_eq!(headers["idempotency-key"], format!("{id}:capture").as_str());
    desk.note(&id, |asked| asked.captures += 1);
    desk.answer(json!({ "status": "captured" })).await
}

async fn refund(State(desk): State<Desk>, Path(id): Path<String>) -> Result<axum::Json<Value>, StatusCode> {
    desk.note(&id, |asked| asked.refunds += 1);
    desk.answer(json!({ "status": "refunded" })).await
}

impl Desk {
    fn note(&self, id: &str, change: impl FnOnce(&mut Asked)) {
        change(self.book.lock().unwrap().entry(id.to_owned()).or_default());
        self.asked.send_modify(|asked| *asked += 1);
    }

    async fn answer(mut self, answer: Value) -> Result<axum::Json<Value>, StatusCode> {
        let mood = *self.mood.wait_for(|mood| *mood != Mood::Waits).await.unwrap();
        match mood {
            Mood::Fails => Err(StatusCode::INTERNAL_SERVER_ERROR),
            Mood::Garbage => Ok(axum::Json(json!({ "status": "perhaps" }))),
            Mood::Answers | Mood::Waits => Ok(axum::Json(answer)),
        }
    }
}
