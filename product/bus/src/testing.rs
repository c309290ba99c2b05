//! What the tests of all parts stand on: a database that ends with its test, SQLite unless told otherwise.

use std::path::Path;

use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::database::Database;

/// A superuser's URL such as `postgres://postgres@127.0.0.1:5433/postgres`; each test gets a database of its own there.
const POSTGRES: &str = "FAULTLINE_TEST_POSTGRES_URL";

/// A folder and one database, gone with this value. On SQLite the database is the file that the part or the test names
/// in the folder.
pub struct TestDatabase {
    folder: TempDir,
    postgres: Option<Postgres>,
}

struct Postgres {
    server: String,
    name: String,
}

impl TestDatabase {
    pub async fn create() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let Ok(server) = std::env::var(POSTGRES) else { return Self { folder, postgres: None } };
        let name = format!("test_{}", Uuid::new_v4().simple());
        administer(&server, format!("CREATE DATABASE {name}")).await;
        Self { folder, postgres: Some(Postgres { server, name }) }
    }

    /// For a `--data-dir`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For a `--…-database-url`; none: the part's own file.
    pub fn url(&self) -> Option<String> {
        let Postgres { server, name } = self.postgres.as_ref()?;
        let mut url = url::Url::parse(server).expect("a URL");
        url.set_path(name);
        Some(url.into())
    }

    /// Opens it, from beside the part under test as well.
    pub async fn open(&self, file: &str) -> Database {
        Database::open(self.url().as_deref(), &self.folder().join(file)).await.expect("a database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(Postgres { server, name }) = self.postgres.take() else { return };
        // A runtime of its own: that of the test may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(administer(&server, format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        if dropping.join().is_err() {
            eprintln!("a test database was left behind");
        }
    }
}

async fn administer(server: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(server).await.expect("a PostgreSQL server");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("a superuser");
    connection.close().await.expect("an orderly end");
}
