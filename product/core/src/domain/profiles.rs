//! What users say about themselves.

use jiff::Timestamp;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{span, traced};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    pub(crate) bio: String,
}

pub(crate) async fn read(connection: &mut AnyConnection, user_id: Uuid) -> sqlx::Result<Profile> {
    let query = sqlx::query("SELECT display_name, bio FROM profiles WHERE user_id = $1").bind(user_id.to_string());
    let row = traced(span(connection, "SELECT", "profiles"), query.fetch_one(connection)).await?;
    Ok(Profile { display_name: row.try_get("display_name")?, bio: row.try_get("bio")? })
}

pub(crate) async fn write(
    connection: &mut AnyConnection,
    user_id: Uuid,
    profile: &Profile,
    now: Timestamp,
) -> sqlx::Result<()> {
    let query = sqlx::query("UPDATE profiles SET display_name = $1, bio = $2, updated_at = $3 WHERE user_id = $4")
        .bind(&profile.display_name)
        .bind(&profile.bio)
        .bind(now.as_millisecond())
        .bind(user_id.to_string());
    traced(span(connection, "UPDATE", "profiles"), query.execute(connection)).await?;
    Ok(())
}
