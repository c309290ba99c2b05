//! A SQLite database of evidence, plain: it belongs to systems that are not ours, whatever database the product uses.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use observe::db;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// Readers of the evidence at once; one that reads slowly keeps its connection.
const READERS_MAX: u32 = 2;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// One connection, as SQLite has one writer: writers queue here in order instead of polling for its lock.
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
}

impl Database {
    /// Opens or creates `<data_dir>/product/<name>` with `schema`. Commits survive the death of the process but not of the
    /// machine (`synchronous = NORMAL`): these are stand-ins for systems that are not ours, and their disk
    /// must not be what a measurement of the product waits for.
    pub(crate) async fn open(data_dir: &Path, name: &str, schema: &'static str) -> anyhow::Result<Database> {
        let folder = data_dir.join("product");
        std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        let path = folder.join(name);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = async |connections| {
            let pool = SqlitePoolOptions::new().max_connections(connections).connect_with(options.clone());
            pool.await.with_context(|| format!("could not open the database {}", path.display()))
        };
        let database = Database { writer: pool(1).await?, readers: pool(READERS_MAX).await? };
        let prepared = sqlx::raw_sql(schema).execute(&database.writer).await;
        prepared.with_context(|| format!("could not prepare {}", path.display()))?;
        Ok(database)
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Runs a statement on `table` in its span, which notes if it failed.
pub(crate) async fn told<T>(
    operation: &str,
    table: &str,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let kind = |error: &sqlx::Error| match error {
        sqlx::Error::Database(error) => error.code().as_deref().unwrap_or("database").to_owned(),
        _ => "connection".to_owned(),
    };
    db::call(db::SQLITE, operation, table).run(statement, kind).await
}
