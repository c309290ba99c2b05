//! The merchant's webhook receiver: keeps what arrives and recognises what it already has.
//!
//! A webhook is known by its `Idempotency-Key`. One that comes again is counted as a delivery, not as a webhook.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use observe::db;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use serde::Deserialize;
use serde_json::json;
use sqlx::SqlitePool;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info};
use uuid::Uuid;

use crate::{answers, database};

/// `service.name` of this process.
pub const SERVICE: &str = "receiver";

/// A key is an identifier; a longer one is a mistake.
const KEY_BYTES_MAX: usize = 128;
const EVENT_TYPE_BYTES_MAX: usize = 64;

/// Settings of the webhook receiver.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address it listens on.
    #[arg(long, env = "FAULTLINE_RECEIVER_LISTEN", default_value = "127.0.0.1:7011")]
    pub receiver_listen: SocketAddr,
    /// Folder of all data; what was received lives in `product/receiver.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The receiver with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    receiver: Receiver,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let (listener, address) = answers::listen(args.receiver_listen, "--receiver-listen").await?;
        let pool = database::open(&args.data_dir, "receiver.db").await?;
        sqlx::query(SCHEMA).execute(&pool).await.context("could not prepare receiver.db")?;
        info!(server.address = %address, "the webhook receiver is listening on {address}");
        Ok(Server { listener, address, receiver: Receiver { pool, received: counter() } })
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let pool = self.receiver.pool.clone();
        let router = Router::new()
            .route("/health", get(answers::health))
            .route("/v1/webhooks", post(receive))
            .route("/internal/effects", get(effects))
            .layer(DefaultBodyLimit::max(answers::BODY_BYTES_MAX))
            .with_state(self.receiver);
        axum::serve(self.listener, observe::http::observed(router))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await?;
        pool.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS webhooks (
        idempotency_key TEXT PRIMARY KEY,
        event_type      TEXT NOT NULL,
        payment_id      TEXT NOT NULL,
        deliveries      INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT";

#[derive(Clone)]
struct Receiver {
    pool: SqlitePool,
    /// Deliveries accepted, by whether the webhook was new.
    received: Counter<u64>,
}

/// What of a webhook is kept. The rest of the body is the merchant's business.
#[derive(Deserialize)]
struct Webhook {
    r#type: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    payment_id: Uuid,
}

fn counter() -> Counter<u64> {
    global::meter("product-load")
        .u64_counter("faultline.receiver.webhooks")
        .with_unit("{delivery}")
        .with_description("Webhook deliveries accepted, by whether the webhook was new.")
        .build()
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    webhook: Result<Json<Webhook>, JsonRejection>,
) -> Response {
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return answers::problem(StatusCode::BAD_REQUEST, "the header Idempotency-Key is missing");
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return answers::problem(StatusCode::BAD_REQUEST, "the Idempotency-Key is empty or too long");
    }
    let Json(webhook) = match webhook {
        Ok(webhook) => webhook,
        Err(rejection) => return answers::problem(rejection.status(), &rejection.body_text()),
    };
    if webhook.r#type.len() > EVENT_TYPE_BYTES_MAX {
        return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, "the type is too long");
    }
    match keep(&receiver.pool, key, &webhook).await {
        Ok(deliveries) => {
            let new = deliveries == 1;
            receiver.received.add(1, &[KeyValue::new("webhook.new", new)]);
            let (kind, id) = (&webhook.r#type, webhook.data.payment_id);
            info!(payment.id = %id, event.kind = kind, webhook.deliveries = deliveries,
                "received {kind} of payment {id}, delivery {deliveries}");
            Json(json!({"received": true, "new": new})).into_response()
        }
        Err(error) => answers::broken(&error),
    }
}

/// Returns how often this key has been delivered by now.
async fn keep(pool: &SqlitePool, key: &str, webhook: &Webhook) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO webhooks (idempotency_key, event_type, payment_id, deliveries) VALUES (?, ?, ?, 1)
         ON CONFLICT DO UPDATE SET deliveries = deliveries + 1
         RETURNING deliveries",
    )
    .bind(key)
    .bind(&webhook.r#type)
    .bind(webhook.data.payment_id.to_string())
    .fetch_one(pool)
    .instrument(db::span(db::SQLITE, "INSERT", "webhooks"))
    .await
}

/// For each event type of each payment: distinct webhooks, and deliveries with repeats.
async fn effects(State(receiver): State<Receiver>) -> Response {
    let (send, receive) = mpsc::channel(answers::LINES_UNREAD_MAX);
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String, i64, i64)>(
            "SELECT event_type, payment_id, COUNT(*), SUM(deliveries) FROM webhooks GROUP BY 1, 2",
        )
        .fetch(&receiver.pool);
        while let Some(row) = rows.next().await {
            let line = row.map(|(event_type, payment_id, count, deliveries)| {
                let line = json!({
                    "effect": "webhook", "event_type": event_type, "payment_id": payment_id,
                    "count": count, "deliveries": deliveries,
                });
                format!("{line}\n")
            });
            if send.send(line).await.is_err() {
                break; // the reader has gone
            }
        }
    });
    answers::lines(ReceiverStream::new(receive))
}
