//! A SERVER span and a duration for each request of an axum router.

use std::{sync::LazyLock, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, Version, header},
    middleware::{Next, from_fn},
    response::Response,
};
use opentelemetry::KeyValue;
use tracing::{Instrument, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::method_name;
use crate::{Durations, REQUEST_BOUNDARIES_S, context};

static DURATION: LazyLock<Durations> = LazyLock::new(|| {
    Durations::new(
        "http",
        "http.server.request.duration",
        "Time from a request's head to its response's head",
        &REQUEST_BOUNDARIES_S,
    )
});

/// Every route added so far becomes a SERVER span "POST /v1/payments", child of the caller's, with
/// `http.server.request.duration`. The path `/health` makes neither. Call after the last route.
pub fn observed<S>(router: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.layer(from_fn(serve))
}

async fn serve(request: Request, next: Next) -> Response {
    if request.uri().path() == "/health" {
        return next.run(request).await;
    }
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let mut attributes = vec![
        KeyValue::new("http.request.method", method_name(request.method())),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("network.protocol.version", protocol_version(request.version())),
    ];
    attributes.extend(route.clone().map(|route| KeyValue::new("http.route", route)));
    let span = server_span(&request, route.as_deref());

    let response = next.run(request).instrument(span.clone()).await;

    let status = i64::from(response.status().as_u16());
    span.record("http.response.status_code", status);
    attributes.push(KeyValue::new("http.response.status_code", status));
    if response.status().is_server_error() {
        span.record("error.type", response.status().as_str()).record("otel.status_code", "ERROR");
        attributes.push(KeyValue::new("error.type", response.status().as_str().to_owned()));
    }
    DURATION.record(started.elapsed(), &attributes, &span);
    response
}

fn server_span(request: &Request, route: Option<&str>) -> Span {
    let method = method_name(request.method());
    let span = info_span!(
        "http.server",
        otel.name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        url.scheme = "http",
        server.address = Empty,
        server.port = Empty,
        network.protocol.version = protocol_version(request.version()),
        user_agent.original = text(request.headers(), header::USER_AGENT),
        error.type = Empty,
    );
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let Some(host) = authority.or_else(|| text(request.headers(), header::HOST)) {
        let (address, port) = match host.rsplit_once(':') {
            Some((address, port)) => (address, port.parse::<i64>().ok()),
            None => (host, Some(80)),
        };
        span.record("server.address", address).record("server.port", port);
    }
    let headers = request.headers().iter();
    let parent = context::extract(headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))));
    // Fails only where no subscriber made this a span: then there is nothing to be the parent of.
    let _ = span.set_parent(parent);
    span
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
