//! SQLite by default, PostgreSQL by URL: one code for both, by sqlx's `Any` driver.
//!
//! Statements are written once, in what both understand: `$1` for parameters, `ON CONFLICT (…)` with its columns,
//! whole numbers (milliseconds for times), text for ids, `CAST(SUM(x) AS BIGINT)`, `CASE WHEN … THEN 1 ELSE 0 END` for
//! conditions (`Any` knows no boolean of SQLite). Only migrations have a folder for each.

use std::{
    fmt,
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use observe::db::Call;
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Transaction, any::AnyPoolOptions, migrate::Migrator,
    pool::PoolConnection,
};
use url::Url;

/// Readers of SQLite: reads are short and CPU is what they lack, so a few connections serve many requests.
const SQLITE_READERS: u32 = 4;
/// How long one may wait for a connection before being told that we are too busy.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// `busy_timeout` is for other processes that look into the file (a backup, the sqlite3 shell, a deploy's second
/// process); our own writers queue in the pool, which is fair and wakes at once. `synchronous = FULL`: what was answered
/// or acted on survives a power cut.
const SQLITE_SETTINGS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub fn of(connection: &AnyConnection) -> Self {
        if connection.backend_name() == "PostgreSQL" { Self::Postgres } else { Self::Sqlite }
    }

    /// The value of `db.system.name`.
    pub fn system(self) -> &'static str {
        match self {
            Self::Sqlite => observe::db::SQLITE,
            Self::Postgres => "postgresql",
        }
    }

    /// Ends a subselect of rows to delete: writers at work at once leave each other's alone. SQLite has one writer.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// A statement, told as in "INSERT payments".
    pub fn span(self, operation: &str, table: &str) -> Call {
        observe::db::call(self.system(), operation, table)
    }

    /// A statement about the whole database.
    fn plain_span(self, operation: &'static str) -> Call {
        observe::db::plain_call(self.system(), operation)
    }
}

/// A statement on `connection`; use with [`traced`].
pub fn span(connection: &AnyConnection, operation: &str, table: &str) -> Call {
    Dialect::of(connection).span(operation, table)
}

/// Runs a statement in its span, which notes if it failed.
pub async fn traced<T>(call: Call, statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let kind = |error: &sqlx::Error| match error {
        sqlx::Error::Database(error) => error.code().as_deref().unwrap_or("database").to_owned(),
        sqlx::Error::PoolTimedOut => "pool_timeout".to_owned(),
        _ => "connection".to_owned(),
    };
    call.run(statement, kind).await
}

/// Whether there is no room left to write: SQLITE_FULL, and PostgreSQL's disk_full.
pub fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "13" || code == "53100")
}

/// The database of a part. On SQLite one connection writes and a few read; on PostgreSQL one pool does both.
#[derive(Clone)]
pub struct Database {
    dialect: Dialect,
    write: AnyPool,
    read: AnyPool,
    /// The file may not grow. Here because SQLite forgets it with the connection.
    full: Arc<AtomicBool>,
}

impl Database {
    /// Opens what `url` names (`postgres://…`, `sqlite://…`); without one the SQLite file `file`, with its folder.
    pub async fn open(url: Option<&str>, file: &Path) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        match url {
            Some(url) if url.starts_with("postgres:") || url.starts_with("postgresql:") => {
                let pool = options().connect(url).await.with_context(|| format!("could not open {}", Shown(url)))?;
                Ok(Self { dialect: Dialect::Postgres, read: pool.clone(), write: pool, full: Arc::default() })
            }
            Some(url) if url.starts_with("sqlite:") => Self::sqlite(url).await,
            Some(url) => anyhow::bail!("{} is neither a postgres:// nor a sqlite:// URL", Shown(url)),
            None => {
                if let Some(folder) = file.parent() {
                    let created = tokio::fs::create_dir_all(folder).await;
                    created.with_context(|| format!("could not create {}", folder.display()))?;
                }
                let path = std::path::absolute(file)?;
                let path = Url::from_file_path(&path)
                    .map_err(|()| anyhow::anyhow!("{} cannot be part of a URL", path.display()))?;
                Self::sqlite(&format!("sqlite://{}", path.path())).await
            }
        }
    }

    async fn sqlite(url: &str) -> anyhow::Result<Self> {
        let full = Arc::<AtomicBool>::default();
        let pool = |connections_max| {
            let full = full.clone();
            let pool = options().max_connections(connections_max).after_connect(move |connection, _| {
                let room = room(full.load(Ordering::Relaxed));
                Box::pin(async move {
                    sqlx::raw_sql(SQLITE_SETTINGS).execute(&mut *connection).await?;
                    sqlx::query(room).execute(connection).await.map(drop)
                })
            });
            // Out of room SQLite ends a transaction by itself; sqlx still counts it, and no other could begin.
            pool.before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        };
        let mode = if url.contains('?') { "" } else { "?mode=rwc" };
        let url = format!("{url}{mode}");
        // The writer comes first: it creates the file that the readers expect.
        let write = pool(1).connect(&url).await.with_context(|| format!("could not open {}", Shown(&url)))?;
        let read =
            pool(SQLITE_READERS).connect(&url).await.with_context(|| format!("could not open {}", Shown(&url)))?;
        Ok(Self { dialect: Dialect::Sqlite, write, read, full })
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Brings the tables of one owner up to date. `migrations` has the folder of this dialect and a table of its own.
    pub async fn migrate(&self, migrations: &Migrator) -> anyhow::Result<()> {
        migrations.run(&self.write).await.with_context(|| format!("could not migrate by {}", migrations.table_name))
    }

    /// A fault: the file may not grow, as on a disk without room ("database or disk is full"). SQLite only.
    pub async fn set_full(&self, full: bool) -> sqlx::Result<()> {
        self.full.store(full, Ordering::Relaxed);
        sqlx::query(room(full)).execute(&self.write).await.map(drop)
    }

    /// A transaction that may write; on SQLite the only one. The span includes the wait for it.
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, Any>> {
        let span = self.dialect.plain_span("BEGIN");
        match self.dialect {
            Dialect::Sqlite => traced(span, self.write.begin_with("BEGIN IMMEDIATE")).await,
            Dialect::Postgres => traced(span, self.write.begin()).await,
        }
    }

    /// Returns when the transaction is on disk.
    pub async fn commit(&self, transaction: Transaction<'static, Any>) -> sqlx::Result<()> {
        traced(self.dialect.plain_span("COMMIT"), transaction.commit()).await
    }

    /// A connection to read with. What it sees is committed.
    pub async fn read(&self) -> sqlx::Result<PoolConnection<Any>> {
        self.read.acquire().await
    }

    /// For single statements that write.
    pub fn writer(&self) -> &AnyPool {
        &self.write
    }

    pub fn readers(&self) -> &AnyPool {
        &self.read
    }

    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn options() -> AnyPoolOptions {
    AnyPoolOptions::new().acquire_timeout(ACQUIRE_MAX)
}

/// One page is below every real size: SQLite takes the size of now instead. The other is SQLite's own limit.
fn room(full: bool) -> &'static str {
    if full { "PRAGMA max_page_count = 1" } else { "PRAGMA max_page_count = 4294967294" }
}

/// A URL without its password.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(self.0) {
            Ok(mut url) => {
                if url.password().is_some() {
                    // Refused only for URLs that cannot have one.
                    let _ = url.set_password(Some("…"));
                }
                f.write_str(url.as_str())
            }
            Err(_) => f.write_str("the database URL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_told() {
        assert!(!Shown("postgres://ada:secret@db/core").to_string().contains("secret"));
        assert_eq!(Shown("sqlite:///tmp/a.db").to_string(), "sqlite:///tmp/a.db");
    }

    #[tokio::test]
    async fn a_file_without_room_takes_writes_again_when_there_is_some() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(None, &folder.path().join("full.db")).await.expect("a database");
        sqlx::query("CREATE TABLE things (blob TEXT)").execute(database.writer()).await.expect("a table");
        let write = async || {
            let mut transaction = database.begin().await?;
            sqlx::query("INSERT INTO things VALUES (hex(zeroblob(100000)))").execute(&mut *transaction).await?;
            database.commit(transaction).await
        };
        database.set_full(true).await.expect("SQLite");
        for _ in 0..3 {
            let refused = write().await.expect_err("there is no room");
            assert!(is_full(&refused), "{refused}");
        }
        database.set_full(false).await.expect("SQLite");
        write().await.expect("there is room");
        database.close().await;
    }

    #[tokio::test]
    async fn a_file_may_have_any_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a b?#%20.db");
        let database = Database::open(None, &file).await.expect("a database");
        sqlx::query("CREATE TABLE things (n INTEGER)").execute(database.writer()).await.expect("a table");
        database.close().await;
        assert!(file.exists());
        assert!(Database::open(Some("mysql://db"), &file).await.is_err());
    }
}
