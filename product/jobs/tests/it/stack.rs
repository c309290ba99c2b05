//! A jobs service on a data folder of its own, beside a receiver that can be told to fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use product_bus::consumer::{Handler, HandlerError};
use product_bus::testing::TestDatabase;
use product_bus::{Event, KafkaArgs};
use product_jobs::{Args, Server};
use product_load::receiver;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const PAYMENT: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0001);

/// The receiver's address, behind a door that stays shut for the first so many webhooks.
pub(crate) struct Merchant {
    pub(crate) base: String,
    receiver: String,
}

impl Merchant {
    pub(crate) async fn start(folder: &Path, failures: u32) -> Merchant {
        let args = receiver::Args::on_free_ports(folder);
        let server = receiver::Server::bind(args).await.unwrap();
        let receiver = format!("http://{}", server.address());
        tokio::spawn(server.run(CancellationToken::new()));

        let failures = Arc::new(AtomicU32::new(failures));
        let behind = receiver.clone();
        let door = post(async move |headers: axum::http::HeaderMap, body: String| -> Response {
            let shut = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if shut {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let request = reqwest::Client::new().post(format!("{behind}/v1/webhooks")).headers(headers).body(body);
            StatusCode::from_u16(request.send().await.unwrap().status().as_u16()).unwrap().into_response()
        });
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/webhooks", door);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Merchant { base, receiver }
    }

    pub(crate) async fn effects(&self) -> Vec<String> {
        effects(&self.receiver).await
    }
}

pub(crate) fn args(place: &TestDatabase, webhook_url: &str, kafka: KafkaArgs) -> Args {
    Args {
        jobs_listen: local(),
        webhook_url: webhook_url.to_owned(),
        webhook_timeout_ms: 2_000,
        data_dir: place.folder().to_owned(),
        jobs_database_url: place.url(),
        kafka,
    }
}

/// A service whose broker is never up: events are handed to its handler directly.
pub(crate) async fn without_broker(place: &TestDatabase, webhook_url: &str) -> Server {
    let kafka = KafkaArgs { bootstrap_servers: "127.0.0.1:1".to_owned() };
    Server::bind(args(place, webhook_url, kafka)).await.unwrap()
}

pub(crate) async fn handle(server: &Server, event: &Event) -> Result<(), HandlerError> {
    server.handler().before(event).await
}

pub(crate) fn event(id: u128, kind: &str, description: &str) -> Event {
    Event {
        id: Uuid::from_u128(id),
        kind: kind.to_owned(),
        version: 1,
        key: PAYMENT.to_string(),
        time_ns: 1_795_348_800_000_000_000,
        data: json!({
            "payment_id": PAYMENT, "user_id": Uuid::from_u128(2), "amount_minor": 1250, "currency": "EUR",
            "description": description, "created_at": "2026-11-22T12:00:00Z", "status": "captured",
        }),
        extensions: Default::default(),
        sequence: None,
        traceparent: None,
        tracestate: None,
    }
}

/// Names of the receipts, sorted; a leftover of any kind would show.
pub(crate) fn receipts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("product/receipts")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn receipt_path(folder: &Path, occasion: &str) -> PathBuf {
    folder.join(format!("product/receipts/{PAYMENT}.{occasion}.html"))
}

/// The lines of `/internal/effects`, sorted.
pub(crate) async fn effects(base: &str) -> Vec<String> {
    let text = reqwest::get(format!("{base}/internal/effects")).await.unwrap().text().await.unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn local() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
