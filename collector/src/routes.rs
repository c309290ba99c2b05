//! What is served where. Both ports serve all of it, so an exporter pointed at the other port is understood too.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::{any, get};
use axum::{Json, Router};
use model::Signal;
use serde_json::{Value, json};

use crate::collector::Collector;
use crate::media::Encoding;
use crate::refusal::Refusal;
use crate::{grpc, http};

pub(crate) fn router(collector: Arc<Collector>) -> Router {
    let mut router = Router::new().route("/health", get(health)).route("/ready", get(health));
    for signal in Signal::ALL {
        let over_grpc = move |State(collector): State<Arc<Collector>>, request: Request| async move {
            grpc::export(&collector, signal, request).await
        };
        let over_http = move |State(collector): State<Arc<Collector>>, request: Request| async move {
            http::export(&collector, signal, request).await
        };
        router =
            router.route(grpc::path(signal), any(over_grpc)).route(&format!("/v1/{}", signal.name()), any(over_http));
    }
    router.fallback(nothing_here).with_state(collector)
}

/// 200 while the store takes rows, 503 with the reason once it does not.
async fn health(State(collector): State<Arc<Collector>>) -> (StatusCode, Json<Value>) {
    let store = collector.writer.status();
    let (code, status) = match (store.failed, store.refusing.is_empty()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        (_, false) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        (false, true) => (StatusCode::OK, "ok"),
    };
    (code, Json(json!({ "status": status, "store": store, "in_flight": collector.gate.in_flight() })))
}

async fn nothing_here(request: Request) -> Response<Body> {
    let refusal = Refusal::UnknownPath(request.uri().path().to_owned());
    if grpc::is_grpc(request.headers()) {
        return grpc::refuse(&refusal);
    }
    refusal.response(Encoding::of(request.headers()).unwrap_or(Encoding::Json))
}
