//! The HTTP interface: health, receipts, settlements, and the evidence of what was done.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::event::Occasion;
use crate::{Jobs, SERVICE, effects, settlement, shadow};

/// A receipt has styles of its own and nothing else that a browser could run or fetch.
const RECEIPT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

pub(crate) fn router(jobs: Jobs, operator_token: Option<&str>) -> Router {
    let operators = Router::new()
        .route("/internal/effects", get(effects))
        .route("/internal/shadow", get(shadows))
        .route("/internal/settlements/{day}", post(settle));
    let router = observe::http::operators_only(operators, operator_token)
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/v1/receipts/{payment_id}", get(receipt))
        .with_state(jobs);
    observe::http::observed(router)
}

async fn effects(State(jobs): State<Jobs>) -> Response {
    let lines = ReceiverStream::new(effects::lines(jobs.database()));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

#[derive(Deserialize)]
struct ShadowQuery {
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
}

/// Digests of what was composed and not done; read on after the last `seq`.
async fn shadows(State(jobs): State<Jobs>, query: Result<Query<ShadowQuery>, QueryRejection>) -> Response {
    let Ok(Query(ShadowQuery { after, limit })) = query else {
        return problem(StatusCode::BAD_REQUEST, "after and limit are numbers");
    };
    match shadow::after(jobs.database(), after, limit.unwrap_or(shadow::ROWS_MAX)).await {
        Ok(rows) => Json(rows).into_response(),
        Err(error) => broken("the shadows", &error.into()),
    }
}

#[derive(Deserialize)]
struct ReceiptQuery {
    #[serde(default)]
    occasion: QueriedOccasion,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum QueriedOccasion {
    #[default]
    Captured,
    Refunded,
}

/// The receipt of a payment; `?occasion=refunded` for that of its refund.
async fn receipt(
    State(jobs): State<Jobs>,
    Path(payment): Path<String>,
    query: Result<Query<ReceiptQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        return problem(StatusCode::BAD_REQUEST, "occasion is captured or refunded");
    };
    let occasion = match query.occasion {
        QueriedOccasion::Captured => Occasion::Captured,
        QueriedOccasion::Refunded => Occasion::Refunded,
    };
    // Only a well-formed id may become part of a file name.
    let Ok(payment) = Uuid::try_parse(&payment) else { return missing() };
    match jobs.receipt(payment, occasion).await {
        Ok(Some(page)) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, RECEIPT_POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "private, no-store"),
            ];
            (headers, page).into_response()
        }
        Ok(None) => missing(),
        Err(error) => broken("a receipt", &error.into()),
    }
}

/// Settles a day that is over, unless it is settled, and answers with its rows.
async fn settle(State(jobs): State<Jobs>, Path(day): Path<String>) -> Response {
    let Ok(day) = day.parse::<Date>() else {
        return problem(StatusCode::BAD_REQUEST, "a day is written 2026-11-22");
    };
    if settlement::last_day_over(Timestamp::now()).is_none_or(|last| day > last) {
        return problem(StatusCode::CONFLICT, "a day is settled when it is over, and some minutes later");
    }
    match jobs.settle(day, SERVICE).await {
        Ok(rows) => Json(rows).into_response(),
        Err(error) => broken("a settlement", &error),
    }
}

fn missing() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such receipt")
}

fn broken(what: &str, error: &anyhow::Error) -> Response {
    tracing::error!("could not answer with {what}: {error:#}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here")
}

/// An error by RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
