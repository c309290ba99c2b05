//! The tables of analytics.

use product_bus::database::{Database, Dialect};
use sqlx::migrate::Migrator;

/// Creates the tables or brings them up to date.
pub(crate) async fn migrate(database: &Database) -> anyhow::Result<()> {
    database.migrate(&migrations(database.dialect())).await
}

fn migrations(dialect: Dialect) -> Migrator {
    let mut migrations = match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/postgres"),
    };
    migrations.dangerous_set_table_name("_analytics_migrations");
    migrations
}
