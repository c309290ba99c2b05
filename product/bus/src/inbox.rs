//! Which events were acted on: one row each, written in the transaction of the effect.

use sqlx::SqlitePool;

/// Creates the tables if they are missing.
pub async fn migrate(_pool: &SqlitePool) -> sqlx::Result<()> {
    todo!()
}
