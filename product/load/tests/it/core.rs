//! A stand-in for core: the same HTTP, everything in memory, and faults on demand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Core {
    state: Arc<Mutex<Books>>,
    /// Payments captured so far, at once or later, to wait for.
    pub(crate) captured: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct Books {
    /// User id by address.
    pub(crate) users: HashMap<String, String>,
    tokens: HashSet<String>,
    /// Payment id by idempotency key.
    keys: HashMap<String, String>,
    /// Status by payment id.
    pub(crate) payments: HashMap<String, &'static str>,
    /// Payments that were authorized first and captured later.
    pub(crate) captured_later: u64,
    /// Refresh tokens that can be used.
    refreshes: HashSet<String>,
    pub(crate) refreshed: u64,
    /// Refresh tokens that came a second time: to core that is theft.
    pub(crate) reused: u64,
    pub(crate) avatars: u64,
    /// Looks at reports, by what was shown for the right to see them.
    pub(crate) reports: HashMap<String, u64>,
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
            .route("/v1/refresh", post(refresh))
            .route("/v1/profile", get(session).put(session))
            .route("/v1/profile/avatar", put(avatar).get(session))
            .route("/v1/payments", get(session).post(pay))
            .route("/v1/payments/{id}", get(session))
            .route("/v1/payments/{id}/capture", post(capture))
            .route("/v1/payments/{id}/refund", post(refund))
            .route("/v1/analytics/revenue", get(report))
            .route("/v1/analytics/top-customers", get(report))
            // No /v1/analytics/funnel: a core that lacks something.
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

    fn pair(&mut self) -> Response {
        let (token, refresh) = (format!("token-{}", self.number()), format!("refresh-{}", self.number()));
        self.tokens.insert(token.clone());
        self.refreshes.insert(refresh.clone());
        Json(json!({"token": token, "refresh_token": refresh, "expires_at": "2030-01-01T00:00:00Z"})).into_response()
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
    books.pair()
}

async fn refresh(State(core): State<Core>, Json(form): Json<Value>) -> Response {
    let mut books = core.books();
    if !books.refreshes.remove(form["refresh_token"].as_str().unwrap()) {
        books.reused += 1;
        return StatusCode::UNAUTHORIZED.into_response();
    }
    books.refreshed += 1;
    books.pair()
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
    let new = format!("payment-{}", books.number());
    let id = books.keys.entry(key.clone()).or_insert(new).clone();
    let status = match &order["capture"] {
        _ if order["card_token"] == "tok_declined" => "declined",
        Value::Bool(false) => "authorized",
        _ => "captured",
    };
    books.payments.insert(id.clone(), status);
    if books.loses_first_answers && books.lost.insert(key) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if status == "captured" {
        core.captured.send_modify(|captured| *captured += 1);
    }
    (StatusCode::CREATED, payment(&id, status)).into_response()
}

async fn capture(State(core): State<Core>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    advance(&core, &headers, &id, "authorized", "captured")
}

async fn refund(State(core): State<Core>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    advance(&core, &headers, &id, "captured", "refunded")
}

fn advance(core: &Core, headers: &HeaderMap, id: &str, from: &'static str, to: &'static str) -> Response {
    if !core.is_signed_in(headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut books = core.books();
    if books.payments.get(id) != Some(&from) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    books.payments.insert(id.to_owned(), to);
    if to == "captured" {
        books.captured_later += 1;
        core.captured.send_modify(|captured| *captured += 1);
    }
    payment(id, to).into_response()
}

fn payment(id: &str, status: &str) -> Json<Value> {
    Json(json!({"id": id, "status": status, "amount_minor": 1, "currency": "EUR"}))
}

async fn avatar(State(core): State<Core>, headers: HeaderMap, picture: axum::body::Bytes) -> StatusCode {
    if !core.is_signed_in(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    assert!(headers["content-type"] == "image/png" && picture.starts_with(b"\x89PNG"));
    core.books().avatars += 1;
    StatusCode::NO_CONTENT
}

async fn report(State(core): State<Core>, headers: HeaderMap) -> Json<Value> {
    let shown = headers.get("authorization").map_or("nothing", |header| header.to_str().unwrap());
    *core.books().reports.entry(shown.to_owned()).or_default() += 1;
    Json(json!({"rows": []}))
}
