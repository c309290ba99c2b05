//! The proxy's HTTP interface. It is not observed: a wire has no spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;
use tracing::info;

use super::network::Network;
use crate::answers;

#[derive(Clone)]
struct Control {
    network: Arc<watch::Sender<Network>>,
    carried: Arc<AtomicU64>,
}

pub(super) fn router(network: Arc<watch::Sender<Network>>, carried: Arc<AtomicU64>) -> Router {
    Router::new()
        .route("/health", get(answers::health))
        .route("/internal/network", get(read).put(change))
        .with_state(Control { network, carried })
}

/// The network as it is, and the bytes it has delivered so far.
async fn read(State(control): State<Control>) -> Response {
    let network = *control.network.borrow();
    Json(json!({"network": network, "carried_bytes": control.carried.load(Ordering::Relaxed)})).into_response()
}

/// What is left out is perfect, so `{}` ends every fault. Bytes on their way keep the time they were given.
async fn change(State(control): State<Control>, network: Result<Json<Network>, JsonRejection>) -> Response {
    let Json(network) = match network {
        Ok(network) => network,
        Err(rejection) => return answers::problem(rejection.status(), &rejection.body_text()),
    };
    if let Err(error) = network.check() {
        return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string());
    }
    control.network.send_replace(network);
    info!(
        fault.network.delay_ms = network.delay_ms,
        fault.network.jitter_ms = network.jitter_ms,
        fault.network.loss = network.loss,
        fault.network.bandwidth_bytes_s = network.bandwidth_bytes_s,
        "the network is now {network:?}"
    );
    read(State(control)).await
}
