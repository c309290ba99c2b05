//! Requests for a copy of everything we keep of an account. Who makes the file is not decided here.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::AnyConnection;
use uuid::Uuid;

use super::{id, payments, profiles, span, time, traced};

/// The copy travels in an event: at some 200 bytes each they fit well below the megabyte that a broker takes.
const PAYMENTS_MAX: u32 = 1_000;

pub(crate) struct Export {
    pub(crate) id: Uuid,
    pub(crate) requested_at: Timestamp,
}

pub(crate) async fn request(connection: &mut AnyConnection, user_id: Uuid, now: Timestamp) -> sqlx::Result<Export> {
    let export = Export { id: Uuid::now_v7(), requested_at: now };
    let query = sqlx::query("INSERT INTO exports (id, user_id, requested_at) VALUES ($1, $2, $3)")
        .bind(export.id.to_string())
        .bind(user_id.to_string())
        .bind(now.as_millisecond());
    traced(span(connection, "INSERT", "exports"), query.execute(connection)).await?;
    Ok(export)
}

/// The request, if it is this user's.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    user_id: Uuid,
    export_id: Uuid,
) -> sqlx::Result<Option<Export>> {
    let query = sqlx::query("SELECT id, requested_at FROM exports WHERE id = $1 AND user_id = $2")
        .bind(export_id.to_string())
        .bind(user_id.to_string());
    let row = traced(span(connection, "SELECT", "exports"), query.fetch_optional(connection)).await?;
    row.map(|row| Ok(Export { id: id(&row, "id")?, requested_at: time(&row, "requested_at")? })).transpose()
}

/// The account as its owner sees it. No address: the copy travels in an event.
pub(crate) async fn account(connection: &mut AnyConnection, user_id: Uuid) -> sqlx::Result<Value> {
    let profile = profiles::read(&mut *connection, user_id).await?;
    let payments = payments::list(connection, user_id, None, PAYMENTS_MAX).await?;
    Ok(json!({ "profile": profile, "payments": payments }))
}
