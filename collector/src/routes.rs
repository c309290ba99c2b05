//! What is served where. Both ports serve all of it, so an exporter pointed at the other port is understood too.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::{any, get};
use model::Signal;

use crate::collector::Collector;
use crate::media::Encoding;
use crate::refusal::Refusal;
use crate::{grpc, http, watch};

/// OTLP, and what probes ask for.
pub(crate) fn all(collector: &Arc<Collector>) -> Router {
    let mut router = probes_of();
    for signal in Signal::ALL {
        let over_grpc = move |State(collector): State<Arc<Collector>>, request: Request| async move {
            grpc::export(&collector, signal, request).await
        };
        let over_http = move |State(collector): State<Arc<Collector>>, request: Request| async move {
            http::export(&collector, signal, request).await
        };
        let over_http = match &collector.access.cors {
            Some(cors) => any(over_http).layer(cors.clone()),
            None => any(over_http),
        };
        router = router.route(grpc::path(signal), any(over_grpc)).route(&format!("/v1/{}", signal.name()), over_http);
    }
    router.fallback(nothing_here).with_state(Arc::clone(collector))
}

/// What probes ask for, alone.
pub(crate) fn probes(collector: &Arc<Collector>) -> Router {
    probes_of().fallback(nothing_here).with_state(Arc::clone(collector))
}

/// No credentials are asked for: they tell figures and states, and nothing of what was received.
fn probes_of() -> Router<Arc<Collector>> {
    Router::new()
        .route("/health", get(watch::health))
        .route("/ready", get(watch::ready))
        .route("/metrics", get(watch::metrics))
}

async fn nothing_here(request: Request) -> Response<Body> {
    let refusal = Refusal::UnknownPath(request.uri().path().to_owned());
    if grpc::is_grpc(request.headers()) {
        return grpc::refuse(&refusal);
    }
    refusal.response(Encoding::of(request.headers()).unwrap_or(Encoding::Json))
}
