//! What the acquirer, the receiver and the proxy have in common as HTTP servers.

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::{Value, json};

/// Body of a request; the largest honest one is a few hundred bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Lines of evidence on their way to a reader; a slow one pauses the query instead of filling memory.
pub(crate) const LINES_UNREAD_MAX: usize = 256;

pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// JSON lines as they come out of the database.
pub(crate) fn lines(lines: impl Stream<Item = sqlx::Result<String>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// An error by RFC 9457.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// A failure of our own: the log has the cause, the client a sentence.
pub(crate) fn broken(error: &sqlx::Error) -> Response {
    tracing::error!(exception.message = %error, "the database failed: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be stored")
}
