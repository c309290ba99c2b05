//! A stand-in for core: the same HTTP, everything in memory, and faults on demand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Core {
    state: Arc<Mutex<Books>>,
    /// Payments captured so far, to wait for.
    pub(crate) captured: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct Books {
    /// User id by address.
    pub(crate) users: HashMap<String, String>,
    tokens: HashSet<String>,
    /// Answer by idempotency key.
    pub(crate) payments: HashMap<String, Value>,
    pub(crate) refunded: HashSet<String>,
    /// Addresses somebody tried to register a second time.
    pub(crate) conflicts: u64,
    /// Of each payment's attempts the first is carried out and its answer lost.
    pub(crate) loses_first_answers: bool,
    lost: HashSet<String>,
    made: u64,
}

impl Core {
    pub(crate) async fn start() -> (Core, String) {
        let core = Core { state: Arc::default(), captured: watch::Sender::new(0) };
        let router = Router::new()
            .route("/health", get(|| async { "ok" }))
            .route("/v1/register", post(register))
            .route("/v1/login", post(log_in))
            .route("/v1/logout", post(log_out))
            .route("/v1/session", get(session))
            .route("/v1/profile", get(session).put(session))
            .route("/v1/payments", get(session).post(pay))
            .route("/v1/payments/{id}", get(session))
            .route("/v1/payments/{id}/refund", post(refund))
            .with_state(core.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (core, base)
    }

    pub(crate) fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.state.lock().unwrap()
    }

    /// Waits until so many payments were captured in all.
    pub(crate) async fn captured(&self, count: u64) {
        self.captured.subscribe().wait_for(|captured| *captured >= count).await.unwrap();
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        let header = headers.get("authorization").and_then(|header| header.to_str().ok()).unwrap_or_default();
        self.books().tokens.contains(header.trim_start_matches("Bearer "))
    }
}

impl Books {
    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

async fn register(State(core): State<Core>, Json(form): Json<Value>) -> Response {
    let mut books = core.books();
    let email = form["email"].as_str().unwrap().to_owned();
    if books.users.contains_key(&email) {
        books.conflicts += 1;
        return StatusCode::CONFLICT.into_response();
    }
    let id = format!("user-{}", books.number());
    books.users.insert(email, id.clone());
    (StatusCode::CREATED, Json(json!({"user_id": id}))).into_response()
}

async fn log_in(State(core): State<Core>, Json(form): Json<Value>) -> Response {
    let mut books = core.books();
    if !books.users.contains_key(form["email"].as_str().unwrap()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let token = format!("token-{}", books.number());
    books.tokens.insert(token.clone());
    Json(json!({"token": token, "expires_at": "2030-01-01T00:00:00Z"})).into_response()
}

async fn log_out(State(core): State<Core>, headers: HeaderMap) -> StatusCode {
    if core.is_signed_in(&headers) { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

async fn session(State(core): State<Core>, headers: HeaderMap) -> Response {
    if !core.is_signed_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"user_id": "somebody"})).into_response()
}

async fn pay(State(core): State<Core>, headers: HeaderMap, Json(order): Json<Value>) -> Response {
    if !core.is_signed_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut books = core.books();
    let id = format!("payment-{}", books.number());
    let declined = order["card_token"] == "tok_declined";
    let answer = books.payments.entry(key.clone()).or_insert_with(|| {
        json!({
            "id": id, "status": if declined { "declined" } else { "captured" },
            "amount_minor": order["amount_minor"], "currency": order["currency"],
        })
    });
    let answer = answer.clone();
    if books.loses_first_answers && books.lost.insert(key) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if !declined {
        core.captured.send_modify(|captured| *captured += 1);
    }
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn refund(State(core): State<Core>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !core.is_signed_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    core.books().refunded.insert(id.clone());
    Json(json!({"id": id, "status": "refunded", "amount_minor": 1, "currency": "EUR"})).into_response()
}
