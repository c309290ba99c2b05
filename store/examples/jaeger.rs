//! What a span or a log record costs at rest: bytes by column, CPU and memory.
//!
//! `cargo run --release -p store --example jaeger -- --traces 1000000` appends spans of the shape Jaeger measures its
//! stores with (10 a trace, 11 attributes a span), waits until everything is compacted and merged, and prints a table.
//! `--logs` does the same for log records. Data come from a seeded generator, so two runs differ only in what was changed.

#![allow(clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use model::{Signal, Table};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use prost::Message;
use store::{Args, Reader, Writer};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Options {
    /// Traces of ten spans each; with --logs, of six records each
    #[arg(long, default_value_t = 100_000)]
    traces: u64,
    /// Traces in one request
    #[arg(long, default_value_t = 100)]
    request_traces: u64,
    /// The time the data span, hours
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// Log records instead of spans
    #[arg(long)]
    logs: bool,
    /// Requests in flight
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Only generate: what to subtract from the CPU of a run
    #[arg(long)]
    only_generate: bool,
    /// Keep the data here instead of deleting it
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = options.keep.clone().unwrap_or_else(|| folder.path().to_owned());
    let (signal, table) = if options.logs { (Signal::Logs, Table::Logs) } else { (Signal::Traces, Table::Spans) };
    let writer = Writer::open(Args::new(&data_dir)).await.unwrap();
    let stop = CancellationToken::new();
    let compacting = tokio::spawn({
        let (writer, stop) = (writer.clone(), stop.clone());
        async move { writer.compact(stop).await.unwrap() }
    });

    let started = Instant::now();
    let mut generator = Generator::new(&options);
    let (mut otlp_bytes, mut decode_cpu, mut refused) = (0, Duration::ZERO, 0);
    let mut pending = tokio::task::JoinSet::new();
    while let Some(body) = generator.request(options.logs) {
        otlp_bytes += body.len();
        if options.only_generate {
            continue;
        }
        let place = loop {
            match writer.reserve(signal, body.len()) {
                Ok(place) => break place,
                Err(_) => {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let before = Instant::now();
        let batches = model::decode_protobuf(signal, &body).unwrap().batches;
        decode_cpu += before.elapsed();
        let filled = place.fill(batches).unwrap();
        if pending.len() >= options.in_flight {
            pending.join_next().await.unwrap().unwrap();
        }
        pending.spawn(async move { filled.append().await.unwrap() });
    }
    while let Some(done) = pending.join_next().await {
        done.unwrap();
    }
    let appended = started.elapsed();
    let rows = generator.records;
    println!("{rows} records, {:.1} B each as OTLP", otlp_bytes as f64 / rows as f64);
    println!("memory at the end of appending: {}", memory());
    if !options.only_generate {
        println!("appended in {appended:.1?}, {refused} refusals, decoding {:.2} us each", micros(decode_cpu, rows));
        let status = writer.status();
        println!("log: {:.0} B a record", status.signals[signal as usize].bytes as f64 / rows as f64);
        while writer.status().file_rows < rows {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("compacted after {:.1?}", started.elapsed());
        let mut before = (0, 0);
        while before != (writer.status().compactions, writer.status().merges) {
            before = (writer.status().compactions, writer.status().merges);
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        println!("{} compactions, {} merges, {} files", before.0, before.1, writer.status().files);
    }
    stop.cancel();
    compacting.await.unwrap();
    writer.close().await.unwrap();
    println!("CPU of the process: {:.2} us a record; memory: {}", micros(cpu(), rows), memory());
    if !options.only_generate {
        report(&data_dir, table, otlp_bytes).await;
    }
}

fn micros(time: Duration, rows: u64) -> f64 {
    time.as_secs_f64() * 1e6 / rows as f64
}

/// User and system time so far; Linux counts it in hundredths of a second.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

async fn report(data_dir: &std::path::Path, table: Table, otlp_bytes: usize) {
    let snapshot = Reader::open(data_dir).unwrap().snapshot(table).await.unwrap();
    let mut columns: BTreeMap<(usize, String), (i64, i64, String)> = BTreeMap::new();
    let (mut file_bytes, mut column_bytes, mut rows, mut groups) = (0, 0, 0, 0);
    for file in snapshot.files.iter() {
        let reader = SerializedFileReader::new(fs::File::open(&file.path).unwrap()).unwrap();
        for group in reader.metadata().row_groups() {
            groups += 1;
            for (index, column) in group.columns().iter().enumerate() {
                let (packed, plain, how) = columns.entry((index, column.column_path().string())).or_default();
                *packed += column.compressed_size();
                *plain += column.uncompressed_size();
                *how = column.encodings().map(|encoding| encoding.to_string()).collect::<Vec<_>>().join(" ");
                column_bytes += column.compressed_size();
            }
        }
        file_bytes += file.bytes;
        rows += file.rows;
    }
    let each = |bytes: i64| bytes as f64 / rows as f64;
    println!("\n{:>8} {:>8}  column", "B/row", "encoded");
    for ((_, name), (packed, plain, how)) in &columns {
        if each(*packed) >= 0.005 {
            println!("{:8.2} {:8.2}  {name}  {how}", each(*packed), each(*plain));
        }
    }
    println!("{:8.2} {:8}  footers, page indexes, bloom filters", each(file_bytes as i64 - column_bytes), "");
    println!("{:8.2} {:8}  in {} files, {groups} row groups", each(file_bytes as i64), "", snapshot.files.len());
    println!("{:.1} times smaller than OTLP", otlp_bytes as f64 / file_bytes as f64);
}

const SERVICES: [&str; 10] =
    ["frontend", "checkout", "payment", "cart", "catalog", "shipping", "currency", "email", "recommendation", "quote"];
const INSTANCES: u64 = 3;
const ROUTES: [&str; 6] =
    ["/api/orders/{id}", "/api/orders", "/api/items/{id}", "/api/users/{id}/cart", "/api/quotes", "/api/payments/{id}"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
];
const MESSAGES: [&str; 8] = [
    "request finished with status {n} in {d} ms",
    "payment {id} authorized, amount {n} minor units",
    "cart of user {id} has {n} items",
    "retrying call to upstream, attempt {n}, waited {d} ms",
    "published order {id} to topic orders, partition {n}",
    "cache miss for key item:{id}",
    "could not reach the shipping quote service within {d} ms, using the last known price",
    "session {id} renewed",
];

/// A trace is a request through four services: each has a server span, a database call and a call to the next.
struct Generator {
    random: u64,
    traces: u64,
    trace: u64,
    request_traces: u64,
    first_ns: u64,
    step_ns: u64,
    records: u64,
}

impl Generator {
    fn new(options: &Options) -> Generator {
        let span_ns = (options.hours * 3.6e12) as u64;
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        Generator {
            random: 7,
            traces: options.traces,
            trace: 0,
            request_traces: options.request_traces,
            first_ns: now_ns - span_ns,
            step_ns: span_ns / options.traces,
            records: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn id(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes / 8).flat_map(|_| self.next().to_be_bytes()).collect()
    }

    /// Some values are far more frequent than others.
    fn skewed(&mut self, limit: u64) -> u64 {
        let below = self.below(limit) + 1;
        self.below(below)
    }

    fn request(&mut self, logs: bool) -> Option<Vec<u8>> {
        if self.trace == self.traces {
            return None;
        }
        let last = (self.trace + self.request_traces).min(self.traces);
        let (mut spans, mut records) = (BTreeMap::new(), BTreeMap::new());
        while self.trace < last {
            match logs {
                true => self.log(&mut records),
                false => self.spans(&mut spans),
            }
            self.trace += 1;
        }
        self.records += spans.values().map(Vec::len).chain(records.values().map(Vec::len)).sum::<usize>() as u64;
        let scope =
            Some(InstrumentationScope { name: "io.shop.http".into(), version: "2.1.0".into(), ..Default::default() });
        Some(match logs {
            true => {
                let resource_logs = records.into_iter().map(|(origin, log_records)| ResourceLogs {
                    resource: Some(resource(origin)),
                    scope_logs: vec![ScopeLogs { scope: scope.clone(), log_records, ..Default::default() }],
                    ..Default::default()
                });
                ExportLogsServiceRequest { resource_logs: resource_logs.collect() }.encode_to_vec()
            }
            false => {
                let resource_spans = spans.into_iter().map(|(origin, spans)| ResourceSpans {
                    resource: Some(resource(origin)),
                    scope_spans: vec![ScopeSpans { scope: scope.clone(), spans, ..Default::default() }],
                    ..Default::default()
                });
                ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
            }
        })
    }

    fn spans(&mut self, out: &mut BTreeMap<(usize, u64), Vec<Span>>) {
        let start = self.first_ns + self.trace * self.step_ns + self.below(self.step_ns.max(1));
        let trace_id = self.id(16);
        let (mut parent, mut at, mut length) = (Vec::new(), start, 20_000_000 + self.skewed(400_000_000));
        let failed = self.below(100) == 0;
        for depth in 0..4 {
            let service = if depth == 0 { 0 } else { 1 + self.below(9) as usize };
            let origin = (service, self.below(INSTANCES));
            let route = ROUTES[(service + self.below(2) as usize) % ROUTES.len()];
            let path = route.replace("{id}", &self.skewed(100_000).to_string());
            let kinds = if depth == 0 {
                &[0, 2][..]
            } else if depth == 3 {
                &[0, 1][..]
            } else {
                &[0, 1, 2][..]
            };
            let mut server = Vec::new();
            for kind in kinds {
                let span_id = self.id(8);
                let (name, attributes) = match kind {
                    0 => (format!("GET {route}"), self.server(&path, route, failed)),
                    1 => (format!("SELECT shop.{}", SERVICES[service]), self.database(service)),
                    _ => ("GET".to_owned(), self.client(&path, failed)),
                };
                out.entry(origin).or_default().push(Span {
                    trace_id: trace_id.clone(),
                    span_id: span_id.clone(),
                    parent_span_id: if *kind == 0 { parent.clone() } else { server.clone() },
                    name,
                    kind: if *kind == 0 { SpanKind::Server } else { SpanKind::Client } as i32,
                    start_time_unix_nano: at,
                    end_time_unix_nano: at + length,
                    attributes,
                    flags: 0x101,
                    status: failed.then(|| Status { code: StatusCode::Error as i32, ..Default::default() }),
                    ..Default::default()
                });
                if *kind == 0 {
                    server = span_id;
                } else {
                    parent = span_id;
                }
                at += 100_000 + self.below(length / 8);
                length = length * 6 / 10 + self.below(length / 4);
            }
        }
    }

    fn log(&mut self, out: &mut BTreeMap<(usize, u64), Vec<LogRecord>>) {
        let start = self.first_ns + self.trace * self.step_ns + self.below(self.step_ns.max(1));
        let trace_id = self.id(16);
        for service in 0..3 {
            let service = (self.trace as usize + service) % SERVICES.len();
            let (origin, span_id) = ((service, self.below(INSTANCES)), self.id(8));
            for _ in 0..2 {
                let message = MESSAGES[(service + self.below(4) as usize) % MESSAGES.len()];
                let (order, count, delay) = (self.skewed(100_000), self.skewed(200), self.skewed(2000));
                let body = message.replace("{id}", &order.to_string()).replace("{n}", &count.to_string());
                let at = start + self.below(50_000_000);
                out.entry(origin).or_default().push(LogRecord {
                    time_unix_nano: at,
                    observed_time_unix_nano: at + 20_000 + self.below(1_000_000),
                    severity_number: if message.starts_with("could") { 13 } else { 9 },
                    severity_text: if message.starts_with("could") { "WARN" } else { "INFO" }.into(),
                    body: Some(any(Value::StringValue(body.replace("{d}", &delay.to_string())))),
                    attributes: vec![
                        text("code.function.name", &message.replace(['{', '}', ',', ' '], "_")[..20]),
                        text("code.file.path", &format!("src/{}/handler.rs", SERVICES[service])),
                        int("code.line.number", 40 + 7 * message.len() as i64),
                        text("thread.name", &format!("worker-{}", self.below(16))),
                        text("user.id", &format!("u-{}", self.skewed(50_000))),
                    ],
                    trace_id: trace_id.clone(),
                    span_id: span_id.clone(),
                    flags: 1,
                    ..Default::default()
                });
            }
        }
    }

    fn status(&mut self, failed: bool) -> i64 {
        if failed { 500 } else { [200, 200, 200, 200, 201, 404][self.below(6) as usize] }
    }

    fn server(&mut self, path: &str, route: &str, failed: bool) -> Vec<KeyValue> {
        vec![
            text("http.request.method", "GET"),
            text("http.route", route),
            text("url.path", path),
            int("http.response.status_code", self.status(failed)),
            text("server.address", "shop.example.com"),
            int("server.port", 443),
            text("client.address", &format!("203.0.{}.{}", self.below(16), self.below(256))),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", AGENTS[self.skewed(4) as usize]),
            text("user.id", &format!("u-{}", self.skewed(50_000))),
            int("thread.id", 10 + self.below(32) as i64),
        ]
    }

    fn client(&mut self, path: &str, failed: bool) -> Vec<KeyValue> {
        let peer = SERVICES[self.below(10) as usize];
        vec![
            text("http.request.method", "GET"),
            text("url.full", &format!("http://{peer}.shop.svc:8080{path}")),
            int("http.response.status_code", self.status(failed)),
            text("server.address", &format!("{peer}.shop.svc")),
            int("server.port", 8080),
            text("network.protocol.version", "2"),
            text("peer.service", peer),
            int("http.request.body.size", self.skewed(4000) as i64),
            int("http.response.body.size", self.skewed(20_000) as i64),
            int("thread.id", 10 + self.below(32) as i64),
            text("thread.name", &format!("worker-{}", self.below(16))),
        ]
    }

    fn database(&mut self, service: usize) -> Vec<KeyValue> {
        let statement = format!("SELECT id, state, amount, updated_at FROM {} WHERE id = $1", SERVICES[service]);
        vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", "shop"),
            text("db.collection.name", SERVICES[service]),
            text("db.operation.name", "SELECT"),
            text("db.query.text", &statement),
            text("server.address", &format!("db-{}.shop.svc", self.below(3))),
            int("server.port", 5432),
            text("db.user", "shop"),
            int("db.response.returned_rows", self.skewed(50) as i64),
            int("thread.id", 10 + self.below(32) as i64),
            text("thread.name", &format!("worker-{}", self.below(16))),
        ]
    }
}

fn resource((service, instance): (usize, u64)) -> Resource {
    let name = SERVICES[service];
    let attributes = vec![
        text("service.name", name),
        text("service.namespace", "shop"),
        text("service.version", "1.14.2"),
        text("service.instance.id", &format!("{name}-7d9f5b6c4-x{instance}k2p")),
        text("host.name", &format!("node-{}", (service as u64 + instance) % 5)),
        text("deployment.environment.name", "production"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", "java"),
        text("telemetry.sdk.version", "1.44.1"),
    ];
    Resource { attributes, ..Default::default() }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(Value::StringValue(value.to_owned()))), ..Default::default() }
}

fn int(key: &str, value: i64) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(Value::IntValue(value))), ..Default::default() }
}
