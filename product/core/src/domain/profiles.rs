//! What users say about themselves.

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::traced;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    pub(crate) bio: String,
}

pub(crate) async fn read(connection: &mut SqliteConnection, user_id: Uuid) -> sqlx::Result<Profile> {
    let query = sqlx::query("SELECT display_name, bio FROM profiles WHERE user_id = ?").bind(user_id.to_string());
    let row = traced("SELECT", "profiles", query.fetch_one(connection)).await?;
    Ok(Profile { display_name: row.try_get("display_name")?, bio: row.try_get("bio")? })
}

pub(crate) async fn write(
    connection: &mut SqliteConnection,
    user_id: Uuid,
    profile: &Profile,
    now: Timestamp,
) -> sqlx::Result<()> {
    let query = sqlx::query("UPDATE profiles SET display_name = ?, bio = ?, updated_at = ? WHERE user_id = ?")
        .bind(&profile.display_name)
        .bind(&profile.bio)
        .bind(now.as_millisecond())
        .bind(user_id.to_string());
    traced("UPDATE", "profiles", query.execute(connection)).await?;
    Ok(())
}
