//! The acquirer: approves or declines charges after a latency of its own.
//!
//! It decides once on each payment id and remembers, as a real one does: asking again gives the same answer.

mod charges;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use self::charges::{Change, Charge, Charges};
use crate::answers;
use crate::database::Database;
use crate::faults::{self, Faults, Target};
use crate::latency::Latency;

/// `service.name` of this process.
pub const SERVICE: &str = "acquirer";

/// The card that is never approved.
const DECLINED_CARD: &str = "tok_declined";

/// Settings of the acquirer stub.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)] // a command holds several structs of this name
pub struct Args {
    /// Address it listens on.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LISTEN", default_value = "127.0.0.1:7010")]
    pub acquirer_listen: SocketAddr,
    /// Median of its answer time, milliseconds: a card network at its usual pace. Lognormal around it.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LATENCY_MEDIAN_MS", default_value_t = 20.0)]
    pub acquirer_latency_median_ms: f64,
    /// Spread of the answer time: standard deviation of its natural logarithm. 0.5 puts p99 near 3.2 medians.
    #[arg(long, env = "FAULTLINE_ACQUIRER_LATENCY_SIGMA", default_value_t = 0.5)]
    pub acquirer_latency_sigma: f64,
    /// Seed of the answer times; the same seed and payment wait the same time.
    #[arg(long, env = "FAULTLINE_ACQUIRER_SEED", default_value_t = 1)]
    pub acquirer_seed: u64,
    /// Folder of all data; charges live in `product/acquirer.db` below it.
    #[arg(long, env = "FAULTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
}

/// The stub with its listener bound and its database open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    database: Database,
    acquirer: Acquirer,
}

impl Server {
    pub async fn bind(args: Args) -> anyhow::Result<Server> {
        let (median_ms, sigma) = (args.acquirer_latency_median_ms, args.acquirer_latency_sigma);
        let latency = Latency::new(args.acquirer_seed, median_ms, sigma, "acquirer")?;
        let listener = observe::http::listen(args.acquirer_listen, "--acquirer-listen").await?;
        let address = listener.local_addr()?;
        let database = Database::open(&args.data_dir, "acquirer.db", charges::SCHEMA).await?;
        info!(server.address = %address.ip(), server.port = address.port(), "the acquirer is listening on {address}");
        let acquirer = Acquirer { charges: Charges::new(database.clone()), latency, asked: counter() };
        Ok(Server { listener, address, database, acquirer })
    }

    /// The address that was bound, of use when the port was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let faults = Faults::none(&[Target::Acquirer]);
        let router = Router::new()
            .route("/v1/charges", post(charge))
            .route("/v1/charges/{payment_id}/capture", post(capture))
            .route("/v1/charges/{payment_id}/refund", post(refund))
            .route_layer(from_fn_with_state((faults.clone(), Target::Acquirer), faults::struck))
            .route("/health", get(answers::health))
            .route("/internal/effects", get(effects))
            .merge(faults.routes())
            .layer(DefaultBodyLimit::max(answers::BODY_BYTES_MAX))
            .with_state(self.acquirer);
        observe::http::serve(self.listener, observe::http::observed(router), stop).await;
        self.database.close().await;
        Ok(())
    }
}

/// Serves until `stop` is cancelled.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    Server::bind(args).await?.run(stop).await
}

#[derive(Clone)]
struct Acquirer {
    charges: Charges,
    latency: Latency,
    /// Answers given, by outcome.
    asked: Counter<u64>,
}

fn counter() -> Counter<u64> {
    global::meter("product-load")
        .u64_counter("faultline.acquirer.answers")
        .with_unit("{answer}")
        .with_description("Answers to charges, captures and refunds, by outcome.")
        .build()
}

/// No `Debug`: whoever holds the card token can charge the card.
#[derive(Deserialize)]
struct Order {
    payment_id: Uuid,
    amount_minor: i64,
    currency: String,
    card_token: String,
    /// False: the money is held and not taken yet.
    #[serde(default = "at_once")]
    capture: bool,
}

fn at_once() -> bool {
    true
}

async fn charge(
    State(acquirer): State<Acquirer>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    let Json(order) = match order {
        Ok(order) => order,
        Err(rejection) => return answers::problem(rejection.status(), &rejection.body_text()),
    };
    if headers.get("idempotency-key").is_some_and(|key| key.as_bytes() != order.payment_id.to_string().as_bytes()) {
        return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, "the Idempotency-Key is not the payment id");
    }
    if order.amount_minor <= 0 || order.currency.len() != 3 {
        return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, "the amount or the currency makes no sense");
    }
    acquirer.latency.pass(&format!("charge {}", order.payment_id)).await;
    let status = match order.capture {
        _ if order.card_token == DECLINED_CARD => "declined",
        true => "approved",
        false => "authorized",
    };
    let decided = acquirer.charges.decide(order.payment_id, order.amount_minor, &order.currency, status).await;
    match decided {
        Ok(charge) if charge.amount_minor != order.amount_minor || charge.currency != order.currency => {
            answers::problem(StatusCode::UNPROCESSABLE_ENTITY, "this payment was charged with another amount")
        }
        Ok(charge) => answer(&acquirer, order.payment_id, &charge, charge.decision()),
        Err(error) => answers::broken(&error),
    }
}

async fn capture(State(acquirer): State<Acquirer>, Path(payment): Path<Uuid>) -> Response {
    acquirer.latency.pass(&format!("capture {payment}")).await;
    changed(&acquirer, payment, acquirer.charges.capture(payment).await, "captured")
}

async fn refund(State(acquirer): State<Acquirer>, Path(payment): Path<Uuid>) -> Response {
    acquirer.latency.pass(&format!("refund {payment}")).await;
    changed(&acquirer, payment, acquirer.charges.refund(payment).await, "refunded")
}

fn changed(acquirer: &Acquirer, payment: Uuid, change: sqlx::Result<Change>, status: &'static str) -> Response {
    match change {
        Ok(Change::Done(charge)) => answer(acquirer, payment, &charge, status),
        Ok(Change::Nothing) => answers::problem(StatusCode::CONFLICT, "there is no money of this charge to move"),
        Ok(Change::Unknown) => answers::problem(StatusCode::NOT_FOUND, "there is no such charge"),
        Err(error) => answers::broken(&error),
    }
}

fn answer(acquirer: &Acquirer, payment: Uuid, charge: &Charge, status: &'static str) -> Response {
    acquirer.asked.add(1, &[KeyValue::new("outcome", status)]);
    info!(payment.id = %payment, charge.status = status, "answered {status} for payment {payment}");
    Json(json!({"charge_id": charge.charge_id, "status": status})).into_response()
}

/// For each payment: its charge, capture and refund, and how often we were asked for it.
async fn effects(State(acquirer): State<Acquirer>) -> Response {
    answers::lines(ReceiverStream::new(acquirer.charges.lines()))
}
