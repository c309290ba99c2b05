//! A SQLite database of evidence.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// SQLite has one writer; the others are for readers of the evidence.
const CONNECTIONS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens or creates `<data_dir>/product/<name>`. Commits survive the death of the process but not of the
/// machine (`synchronous = NORMAL`): these are stand-ins for systems that are not ours, and their disk
/// must not be what a measurement of the product waits for.
pub(crate) async fn open(data_dir: &Path, name: &str) -> anyhow::Result<SqlitePool> {
    let folder = data_dir.join("product");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let path = folder.join(name);
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .connect_with(options)
        .await
        .with_context(|| format!("could not open the database {}", path.display()))
}
