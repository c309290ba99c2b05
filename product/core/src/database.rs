//! The database of core and its tables.

use product_bus::database::{Database, Dialect};
use product_bus::outbox;
use sqlx::migrate::Migrator;

use crate::Args;

/// Opens the database, creates it if need be and brings its tables up to date.
pub(crate) async fn open(args: &Args) -> anyhow::Result<Database> {
    let file = args.data_dir.join("product/core.db");
    let database = Database::open(args.core_database_url.as_deref(), &file).await?;
    database.migrate(&migrations(database.dialect())).await?;
    outbox::migrate(&database).await?;
    Ok(database)
}

/// Call where no other core runs: whoever held a lease ended with its process, so a retry may resume at once, while the
/// customer still asks.
pub(crate) async fn end_leases(database: &Database) -> sqlx::Result<()> {
    sqlx::query("UPDATE idempotency_keys SET lease_until = 0 WHERE response IS NULL AND lease_until > 0")
        .execute(database.writer())
        .await?;
    sqlx::query("UPDATE inline_jobs SET due_at = 0 WHERE due_at > 0").execute(database.writer()).await?;
    Ok(())
}

fn migrations(dialect: Dialect) -> Migrator {
    match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/postgres"),
    }
}
