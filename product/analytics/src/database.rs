//! The service's own SQLite database.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// One for the consumer's transaction, three for readers over HTTP.
const CONNECTIONS_MAX: u32 = 4;
/// How long a writer waits for another's transaction; none of ours lasts longer than a few milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens or creates the database. Commits reach the disk (`synchronous = FULL`): the broker forgets an
/// event once its effect is said to be done, so that must stay true after power loss.
pub(crate) async fn open(path: &Path) -> anyhow::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .connect_with(options)
        .await
        .with_context(|| format!("could not open the database {}", path.display()))
}
