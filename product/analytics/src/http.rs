//! The HTTP interface: health, the reports, and the evidence of what was counted.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use product_bus::database::Database;
use serde::Serialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use crate::evidence;
use crate::reports::{self, Period};

pub(crate) fn router(database: Database) -> Router {
    let router = Router::new()
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/internal/effects", get(effects))
        .route("/v1/revenue", get(revenue))
        .route("/v1/activity", get(activity))
        .with_state(database);
    observe::http::observed(router)
}

async fn effects(State(database): State<Database>) -> Response {
    let lines = ReceiverStream::new(evidence::lines(database));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Revenue by day and currency, newest first; `?from=2026-11-01&to=2026-11-30`.
async fn revenue(State(database): State<Database>, period: Result<Query<Period>, QueryRejection>) -> Response {
    match period {
        Ok(Query(period)) => answer(reports::revenue(&database, period).await),
        Err(_) => bad_period(),
    }
}

/// Activity by day, newest first; same parameters.
async fn activity(State(database): State<Database>, period: Result<Query<Period>, QueryRejection>) -> Response {
    match period {
        Ok(Query(period)) => answer(reports::activity(&database, period).await),
        Err(_) => bad_period(),
    }
}

fn answer<T: Serialize>(rows: sqlx::Result<Vec<T>>) -> Response {
    match rows {
        Ok(rows) => Json(rows).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "could not read a projection: {error}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be read")
        }
    }
}

fn bad_period() -> Response {
    problem(StatusCode::BAD_REQUEST, "from and to are days such as 2026-11-22")
}

/// An error by RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
