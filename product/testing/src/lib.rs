//! What the tests of all parts stand on: a database that ends with its test, SQLite unless told otherwise, a broker that
//! each has to itself, the embedded one unless told otherwise, and the events that were ever published.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use product_bus::{
    Event, KafkaArgs,
    broker::{self, Broker},
    database::Database,
};

/// A superuser's URL such as `postgres://postgres@127.0.0.1:5433/postgres`; each test gets a database of its own there.
const POSTGRES: &str = "FAULTLINE_TEST_POSTGRES_URL";
/// `host:port` of Apache Kafka; each test gets topics and groups of its own there.
const KAFKA: &str = "FAULTLINE_TEST_BOOTSTRAP_SERVERS";

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

/// Where a test finds its broker, and what serves it there: to be spawned on a runtime that outlives who uses it.
pub async fn kafka() -> (KafkaArgs, BoxFuture<'static, anyhow::Result<()>>) {
    if let Ok(servers) = std::env::var(KAFKA) {
        let topic_prefix = Some(format!("test_{}.", Uuid::new_v4().simple()));
        return (KafkaArgs { topic_prefix, ..KafkaArgs::at(servers) }, std::future::ready(Ok(())).boxed());
    }
    let free = (Ipv4Addr::LOCALHOST, 0).into();
    let broker = Broker::bind(broker::Args { broker_listen: free }).await.expect("a free port");
    (KafkaArgs::at(broker.address().to_string()), broker.run(CancellationToken::new()).boxed())
}

/// An event in every shape that any was ever published in: see `product/bus/events/README.md`.
pub fn published_events() -> Vec<Event> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../bus/events"));
    let files = std::fs::read_dir(folder).expect("the folder of events").map(|file| file.expect("a file").path());
    let mut events = Vec::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let (kind, version) = name.rsplit_once(".v").expect("<kind>.v<version>.json");
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let shapes: Vec<Value> = serde_json::from_str(&text).expect("an array");
        events.extend(shapes.into_iter().map(|data| Event {
            version: version.parse().expect("a version"),
            ..Event::new(kind, Uuid::now_v7().to_string(), data)
        }));
    }
    events
}

/// Panics unless the event has all fields that its version ever had, with their types, and no field that is not written
/// down yet.
pub fn assert_compatible(event: &Event) {
    let (kind, version) = (&event.kind, event.version);
    let shapes: Vec<_> =
        published_events().into_iter().filter(|old| old.kind == *kind && old.version == version).collect();
    assert!(!shapes.is_empty(), "write down the shape of {kind} in product/bus/events/{kind}.v{version}.json");
    let mut known = BTreeMap::new();
    shapes.iter().for_each(|old| fields(&old.data, "data", &mut known));
    let mut now = BTreeMap::new();
    fields(&event.data, "data", &mut now);
    assert_eq!(now, known, "{kind} version {version}: see product/bus/events/README.md");
}

/// The type of each field, by its path; of an array only that it is one.
fn fields(value: &Value, path: &str, found: &mut BTreeMap<String, &'static str>) {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    found.insert(path.to_owned(), name);
    for (key, value) in value.as_object().into_iter().flatten() {
        fields(value, &format!("{path}.{key}"), found);
    }
}
