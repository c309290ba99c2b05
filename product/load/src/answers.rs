//! What the acquirer and the receiver have in common as HTTP servers.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Body of a request; the largest honest one is a few hundred bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Lines of evidence on their way to a reader; a slow one pauses the query instead of filling memory.
pub(crate) const LINES_UNREAD_MAX: usize = 256;

/// Binds, or says in a sentence what to do about it. `setting` is the flag that names the address.
pub(crate) async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return anyhow::anyhow!(
                "could not listen on {address}: address already in use; another process holds it, \
                 choose another with {setting} or move everything with --port-offset 10000"
            );
        }
        anyhow::Error::new(error).context(format!("could not listen on {address}"))
    })?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

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
    tracing::error!(error = %error, "the database failed: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be stored")
}
