//! The database file of core: one connection writes, a few read.
//!
//! SQLite has one writer at a time anyway. Waiting for it in the pool's queue is fair and wakes at once; its own
//! busy handler sleeps and lets the luckiest go first.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::domain::traced_as;

/// Reads are short and CPU is what they lack, so a few connections serve many requests.
const READERS: u32 = 4;
/// How long a request waits for a connection before it is told that we are too busy.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// For other processes that look into the file (a backup, the sqlite3 shell); our own writers queue in the pool.
const BUSY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Database {
    write: SqlitePool,
    read: SqlitePool,
}

impl Database {
    /// Opens `<data_dir>/product/core.db`, creates it if need be and brings its tables up to date.
    pub(crate) async fn open(data_dir: &Path) -> anyhow::Result<Database> {
        let folder = data_dir.join("product");
        tokio::fs::create_dir_all(&folder).await.with_context(|| format!("could not create {}", folder.display()))?;
        let file = folder.join("core.db");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A payment that was answered survives a power cut: each commit waits for the disk.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_MAX);
        let database = Self::connect(options).await.with_context(|| format!("could not open {}", file.display()))?;
        database.migrate().await.context("could not migrate the database of core")?;
        Ok(database)
    }

    async fn connect(options: SqliteConnectOptions) -> sqlx::Result<Database> {
        let pool =
            |connections_max| SqlitePoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_MAX);
        // The writer comes first: it creates the file that the readers expect.
        Ok(Database {
            write: pool(1).connect_with(options.clone()).await?,
            read: pool(READERS).connect_with(options.create_if_missing(false)).await?,
        })
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        sqlx::migrate!().run(&self.write).await?;
        product_bus::outbox::migrate(&self.write).await?;
        // Whoever held a lease ended with the last process: a retry may resume at once, while the customer still asks.
        sqlx::query("UPDATE idempotency_keys SET lease_until = 0 WHERE response IS NULL AND lease_until > 0")
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// A connection to read with. What it sees is committed.
    pub(crate) async fn read(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        self.read.acquire().await
    }

    /// The one transaction that may write. The span includes the wait for it.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        traced_as(span("BEGIN"), self.write.begin_with("BEGIN IMMEDIATE")).await
    }

    /// Returns when the transaction is on disk.
    pub(crate) async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> sqlx::Result<()> {
        traced_as(span("COMMIT"), transaction.commit()).await
    }

    /// The pool of the writer, for the relay, which marks what it has published.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.write
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.read
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Of a statement about the whole database.
fn span(operation: &'static str) -> Span {
    info_span!(
        "db",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = observe::db::SQLITE,
        db.operation.name = operation,
        db.query.summary = operation,
        error.type = Empty,
    )
}
