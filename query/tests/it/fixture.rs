//! A folder with telemetry in it, and the ways to ask about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Signal, Table};
use query::{Args, Engine, Limits, Server};
use serde_json::{Value, json};
use store::{Reader, Writer};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const SECOND: i64 = 1_000_000_000;
/// 2026-11-22T12:00:00Z: when the tests' story happens.
pub(crate) const NOON: i64 = 1_795_348_800 * SECOND;
/// The trace of a payment, and that of the batch that worked on it later.
pub(crate) const PAYMENT: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
pub(crate) const BATCH: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) writer: Writer,
    engine: Engine,
}

impl Fixture {
    pub(crate) async fn empty() -> Fixture {
        Fixture::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = store::Args { segment_age_max_ms: 1, ..store::Args::new(folder.path()) };
        let writer = Writer::open(store).await.unwrap();
        let engine = Engine::open(&args(&folder, limits)).await.unwrap();
        Fixture { folder, writer, engine }
    }

    /// With the payment's story, still in the hot log.
    pub(crate) async fn hot() -> Fixture {
        let fixture = Fixture::empty().await;
        fixture.append(Signal::Traces, &story()).await;
        fixture.append(Signal::Logs, &logs()).await;
        fixture
    }

    /// With the payment's story in Parquet.
    pub(crate) async fn cold() -> Fixture {
        let fixture = Fixture::hot().await;
        fixture.compact().await;
        fixture
    }

    pub(crate) async fn append(&self, signal: Signal, request: &Value) {
        let body = serde_json::to_vec(request).unwrap();
        let converted = model::decode_json(signal, &body).unwrap();
        assert_eq!(converted.rejected.count, 0, "{}", converted.rejected.message);
        self.writer.reserve(signal, body.len()).unwrap().append(converted.batches).await.unwrap();
    }

    /// Until nothing is hot.
    pub(crate) async fn compact(&self) {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let writer = self.writer.clone();
        let compacting = tokio::spawn(async move { writer.compact(stopped).await });
        let reader = Reader::open(self.folder.path()).unwrap();
        for table in Table::ALL {
            while !reader.snapshot(table).await.unwrap().hot.is_empty() {
                assert!(!compacting.is_finished(), "compaction ended early");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        stop.cancel();
        compacting.await.unwrap().unwrap();
    }

    /// Another query node over the same folder.
    pub(crate) async fn reopen(&mut self) {
        self.engine = Engine::open(&args(&self.folder, Limits::default())).await.unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The Parquet files of a table.
    pub(crate) async fn files(&self, table: Table) -> Vec<PathBuf> {
        let snapshot = Reader::open(self.folder.path()).unwrap().snapshot(table).await.unwrap();
        snapshot.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Rows as JSON objects, one a line.
    pub(crate) async fn rows(&self, sql: &str) -> String {
        let (_, batches) = self.engine.collect(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut out = Vec::new();
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::LineDelimited>(&mut out);
        for batch in &batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let row: Value = serde_json::from_str(&self.rows(sql).await).unwrap();
        row.as_object().unwrap().values().next().unwrap().as_i64().unwrap()
    }

    pub(crate) async fn refusal(&self, sql: &str) -> query::QueryError {
        match self.engine.collect(sql).await {
            Ok(_) => panic!("{sql} got an answer"),
            Err(error) => error,
        }
    }

    pub(crate) async fn serve(&self, limits: Limits) -> Served {
        let server = Server::bind(args(&self.folder, limits)).await.unwrap();
        let url = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        tokio::spawn(server.run(stop));
        Served { url, http: reqwest::Client::new(), _stop: guard }
    }
}

pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    _stop: DropGuard,
}

impl Served {
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn sql(&self, accept: &str, sql: &str) -> reqwest::Response {
        let request = self.http.post(format!("{}/v1/sql", self.url)).header("accept", accept);
        request.body(sql.to_owned()).send().await.unwrap()
    }

    pub(crate) async fn json(&self, sql: &str) -> (u16, Value) {
        let response = self.sql("application/json", sql).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn args(folder: &TempDir, limits: Limits) -> Args {
    Args { data_dir: folder.path().to_owned(), query_listen: "127.0.0.1:0".parse().unwrap(), limits }
}

/// A span of the story; times in milliseconds after noon. Kinds: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
pub(crate) struct Span {
    pub(crate) trace: &'static str,
    pub(crate) id: u8,
    pub(crate) parent: u8,
    pub(crate) name: &'static str,
    pub(crate) kind: u8,
    pub(crate) start_ms: i64,
    pub(crate) ms: i64,
    pub(crate) failed: bool,
    pub(crate) attributes: &'static [(&'static str, &'static str)],
    pub(crate) links: &'static [(&'static str, u8)],
}

pub(crate) const SPAN: Span = Span {
    trace: PAYMENT,
    id: 1,
    parent: 0,
    name: "",
    kind: 1,
    start_ms: 0,
    ms: 1,
    failed: false,
    attributes: &[],
    links: &[],
};

pub(crate) fn span_id(id: u8) -> String {
    format!("{id:016x}")
}

pub(crate) fn request(services: &[(&str, &[Span])]) -> Value {
    let resources = services.iter().map(|(service, spans)| {
        json!({
            "resource": { "attributes": attributes(&[("service.name", service)]) },
            "scopeSpans": [{ "scope": { "name": "tests" }, "spans": spans.iter().map(otlp).collect::<Vec<_>>() }]
        })
    });
    json!({ "resourceSpans": resources.collect::<Vec<_>>() })
}

fn otlp(span: &Span) -> Value {
    let start = NOON + span.start_ms * 1_000_000;
    let links = span.links.iter().map(|(trace, id)| json!({ "traceId": trace, "spanId": span_id(*id) }));
    json!({
        "traceId": span.trace,
        "spanId": span_id(span.id),
        "parentSpanId": if span.parent == 0 { String::new() } else { span_id(span.parent) },
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + span.ms * 1_000_000).to_string(),
        "attributes": attributes(span.attributes),
        "links": links.collect::<Vec<_>>(),
        "status": if span.failed { json!({ "code": 2, "message": "it broke" }) } else { json!({}) },
    })
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

/// A payment: a request, a charge at another service, a write to a database, a message that one consumer takes singly (child
/// and link) and another in a batch with somebody else's message (link alone).
pub(crate) fn story() -> Value {
    let destination = &[("messaging.destination.name", "payments")];
    request(&[
        (
            "core",
            &[
                Span {
                    id: 1,
                    name: "POST /v1/payments",
                    kind: 2,
                    ms: 100,
                    attributes: &[("payment.id", "p-1")],
                    ..SPAN
                },
                Span {
                    id: 2,
                    parent: 1,
                    name: "POST",
                    kind: 3,
                    start_ms: 10,
                    ms: 40,
                    failed: true,
                    attributes: &[("server.address", "127.0.0.1"), ("server.port", "7010")],
                    ..SPAN
                },
                Span {
                    id: 4,
                    parent: 1,
                    name: "INSERT payments",
                    kind: 3,
                    start_ms: 60,
                    ms: 2,
                    attributes: &[("db.system.name", "sqlite")],
                    ..SPAN
                },
                Span {
                    id: 5,
                    parent: 1,
                    name: "send payments",
                    kind: 4,
                    start_ms: 70,
                    ms: 5,
                    attributes: destination,
                    ..SPAN
                },
            ],
        ),
        ("acquirer", &[Span { id: 3, parent: 2, name: "POST /v1/charges", kind: 2, start_ms: 12, ms: 30, ..SPAN }]),
        (
            "jobs",
            &[Span {
                id: 6,
                parent: 5,
                name: "process payments",
                kind: 5,
                start_ms: 90,
                ms: 20,
                attributes: destination,
                links: &[(PAYMENT, 5)],
                ..SPAN
            }],
        ),
        (
            "analytics",
            &[
                Span {
                    trace: BATCH,
                    id: 7,
                    name: "process payments",
                    kind: 5,
                    start_ms: 200,
                    ms: 8,
                    attributes: destination,
                    links: &[(PAYMENT, 5), ("0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", 9)],
                    ..SPAN
                },
                Span { trace: BATCH, id: 8, parent: 7, name: "UPDATE revenue", kind: 1, start_ms: 201, ms: 2, ..SPAN },
            ],
        ),
        (
            "core",
            &[Span {
                trace: "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
                id: 9,
                name: "send payments",
                kind: 4,
                start_ms: 80,
                ms: 5,
                attributes: destination,
                ..SPAN
            }],
        ),
    ])
}

pub(crate) fn logs() -> Value {
    let record = |ms: i64, severity: u8, body: &str, trace: &str, span: u8| {
        json!({
            "timeUnixNano": (NOON + ms * 1_000_000).to_string(), "severityNumber": severity, "severityText": "ANY",
            "body": { "stringValue": body }, "traceId": trace, "spanId": if span == 0 { String::new() } else { span_id(span) },
        })
    };
    json!({ "resourceLogs": [{
        "resource": { "attributes": attributes(&[("service.name", "core")]) },
        "scopeLogs": [{ "scope": { "name": "tests" }, "logRecords": [
            record(20, 17, "the acquirer said no", PAYMENT, 2),
            record(21, 9, "nothing to do with it", "", 0),
            record(205, 9, "counted", BATCH, 7),
        ]}]
    }]})
}
