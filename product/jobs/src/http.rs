//! The HTTP interface: health, receipts, and the evidence of what was done.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use product_bus::database::Database;
use serde::Deserialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::effects;
use crate::payment::Occasion;
use crate::receipt::Receipts;

/// A receipt has styles of its own and nothing else that a browser could run or fetch.
const RECEIPT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

#[derive(Clone)]
pub(crate) struct Interface {
    pub(crate) database: Database,
    pub(crate) receipts: Receipts,
}

pub(crate) fn router(interface: Interface) -> Router {
    let router = Router::new()
        .route("/health", get(|| async { axum::Json(json!({"status": "ok"})) }))
        .route("/internal/effects", get(effects))
        .route("/v1/receipts/{payment_id}", get(receipt))
        .with_state(interface);
    observe::http::observed(router)
}

async fn effects(State(interface): State<Interface>) -> Response {
    let lines = ReceiverStream::new(effects::lines(interface.database));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
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
    State(interface): State<Interface>,
    Path(payment): Path<String>,
    query: Result<Query<ReceiptQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        return problem(StatusCode::BAD_REQUEST, "occasion is captured or refunded");
    };
    // Only a well-formed id may become part of a file name.
    let Ok(payment) = Uuid::try_parse(&payment) else {
        return problem(StatusCode::NOT_FOUND, "there is no such receipt");
    };
    let occasion = match query.occasion {
        QueriedOccasion::Captured => Occasion::Captured,
        QueriedOccasion::Refunded => Occasion::Refunded,
    };
    match tokio::fs::read(interface.receipts.path(payment, occasion)).await {
        Ok(page) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, RECEIPT_POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "private, no-store"),
            ];
            (headers, page).into_response()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            problem(StatusCode::NOT_FOUND, "there is no such receipt")
        }
        Err(error) => {
            tracing::error!(payment.id = %payment, error = %error, "could not read the receipt of payment {payment}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the receipt could not be read")
        }
    }
}

/// An error by RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
