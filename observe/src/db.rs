//! Spans of database calls by the database semantic conventions.

use tracing::{Span, field::Empty, info_span};

pub const SQLITE: &str = "sqlite";

/// A CLIENT span "SELECT payments"; use with `tracing::Instrument`, and `failed` when the call did.
pub fn span(system: &str, operation: &str, collection: &str) -> Span {
    let summary = format!("{operation} {collection}");
    info_span!(
        "db",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        db.collection.name = collection,
        db.query.summary = summary,
        error.type = Empty,
    )
}

/// Marks a span of this module as failed; `kind` is a word of few values, such as a SQLite result code.
pub fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind).record("otel.status_code", "ERROR");
}
