//! The pictures of users, as we made them: 128 by 128, PNG.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{span, traced};

pub(crate) async fn read(connection: &mut AnyConnection, user_id: Uuid) -> sqlx::Result<Option<Vec<u8>>> {
    let query = sqlx::query("SELECT png FROM avatars WHERE user_id = $1").bind(user_id.to_string());
    let row = traced(span(connection, "SELECT", "avatars"), query.fetch_optional(connection)).await?;
    row.map(|row| row.try_get("png")).transpose()
}

pub(crate) async fn write(
    connection: &mut AnyConnection,
    user_id: Uuid,
    png: Vec<u8>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO avatars (user_id, png, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET png = excluded.png, updated_at = excluded.updated_at",
    )
    .bind(user_id.to_string())
    .bind(png)
    .bind(now.as_millisecond());
    traced(span(connection, "INSERT", "avatars"), query.execute(connection)).await?;
    Ok(())
}
