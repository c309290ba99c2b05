//! The OpenTelemetry Collector's exporter for ClickHouse is who defines the tables: the same requests, by it and by our sink, are the
//! same rows. What differs on purpose is in `ON_PURPOSE`.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::{Asking, JSON, OpenTelemetryCollector, PROTOBUF, clickhouse, examples, requests};
use crate::harness::{TestCollector, eventually, now_ns, post};

const TABLES: [&str; 7] = [
    "otel_traces",
    "otel_logs",
    "otel_metrics_gauge",
    "otel_metrics_sum",
    "otel_metrics_histogram",
    "otel_metrics_exponential_histogram",
    "otel_metrics_summary",
];

/// What differs on purpose: a type or a name of a column there, what is compared instead of its values, and why.
const ON_PURPOSE: [(&str, &str, &str); 6] = [
    ("Map(LowCardinality(String), String)", "mapSort(@)", "ours are sorted by key, so that equal maps are one group"),
    ("Array(Map(LowCardinality(String), String))", "arrayMap(map -> mapSort(map), @)", "the same"),
    ("DateTime", "toDateTime(@)", "ours of points are nanoseconds, as they were until lately; theirs are seconds"),
    ("Array(DateTime)", "arrayMap(time -> toDateTime(time), @)", "the same"),
    (
        "Exemplars.TraceId",
        "arrayMap(id -> trimLeft(id, '0'), @)",
        "an absent id is empty, as that of a span; theirs is zeros",
    ),
    ("Exemplars.SpanId", "arrayMap(id -> trimLeft(id, '0'), @)", "the same"),
];

/// And what is compared instead of the text of a value, because that is the text which SQL sees on both of our backends: a double
/// keeps its point (5.0, where theirs is 5) and has no sign in front of its exponent; a nested value is written as OTLP's JSON where
/// plain JSON would not tell what it was (bytes), and in the order in which it came.
fn meaning(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.is_f64() => number.as_f64().map(|double| double.to_string()).into(),
        Ok(nested @ (Value::Array(_) | Value::Object(_))) => plain(nested),
        _ => Value::from(text),
    }
}

/// As JSON that knows no bytes and only one kind of number.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(entries) => match entries.get("bytesValue") {
            Some(bytes) if entries.len() == 1 => bytes.clone(),
            _ => entries.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        },
        Value::Number(number) => Value::from(number.as_f64()),
        other => other,
    }
}

#[tokio::test]
#[ignore = "needs ClickHouse and the OpenTelemetry Collector: deploy/testbed/clickhouse and deploy/testbed/otelcol run it"]
async fn rows_in_clickhouse_are_those_of_the_reference() {
    let (ours, theirs) = (Asking::a_new_database(), Asking::a_new_database());
    let settings = [
        format!("--clickhouse-url={}", clickhouse()),
        format!("--clickhouse-database={}", ours.database),
        "--clickhouse-wait-max-ms=1".to_owned(),
    ];
    let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
    // Without a queue its answer means that the rows are there.
    let exporter = format!(
        r#"endpoint: "{}", database: {}, compress: none, async_insert: false, sending_queue: {{enabled: false}}"#,
        clickhouse(),
        theirs.database
    );
    let reference = OpenTelemetryCollector::start("clickhouse", &exporter).await;
    let now = now_ns();
    let json = requests(now).into_iter().chain(examples(now)).chain(recording(now));
    let json = json.map(|(path, body)| (path, JSON, body.into_bytes()));
    let protobuf = generated(now).into_iter().map(|(path, body)| (path, PROTOBUF, body));
    for (path, headers, body) in json.chain(protobuf) {
        for to in [collector.http, reference.addresses[1]] {
            let answer = post(to, path, &headers, &body).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        }
    }
    let (mut compared, mut differences) = (0, String::new());
    for table in TABLES {
        let columns = columns(&theirs, table).await;
        let rows = rows(&theirs, table, &columns).await;
        assert!(rows.len() > 10, "{table} has {} rows", rows.len());
        let count = format!("SELECT count() FROM {table}");
        eventually(table, async || ours.ask(&count).await == Some(rows.len().to_string())).await;
        differences += &differ(table, &columns, &rows, &self::rows(&ours, table, &columns).await);
        compared += rows.len();
    }
    assert!(differences.is_empty(), "{differences}");
    println!("{compared} rows are the same");
    collector.stopped().await;
}

/// Name and type of every column that the exporter fills.
async fn columns(of: &Asking, table: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = '{}' AND table = '{table}' AND default_kind = '' ORDER BY position",
        of.database
    );
    let answer = of.ask_any(&sql).await.expect("the table is there");
    let column = |line: &str| line.split_once('\t').map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let columns: Vec<_> = answer.lines().map(|line| column(line).expect("a name and a type")).collect();
    assert!(columns.len() > 10, "{table}: {columns:?}");
    columns
}

/// What is compared of each column of each row, sorted.
async fn rows(of: &Asking, table: &str, columns: &[(String, String)]) -> Vec<Vec<String>> {
    let compared = columns.iter().map(|(name, kind)| {
        let on_purpose = ON_PURPOSE.iter().find(|(what, ..)| what == kind || what == name);
        let compared = on_purpose.map_or("@", |(_, compared, _)| compared).replace('@', &format!("`{name}`"));
        if kind.contains("Map(") { compared } else { format!("toString({compared})") }
    });
    let sql = format!("SELECT toJSONString(tuple({})) FROM {table}", compared.collect::<Vec<_>>().join(", "));
    let answer = of.ask(&sql).await.expect("the table is there");
    let row = |line: &str| {
        let values: Vec<Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        columns.iter().zip(values).map(|(column, value)| compared_value(column, value).to_string()).collect()
    };
    let mut rows: Vec<Vec<String>> = answer.lines().map(row).collect();
    rows.sort_unstable();
    rows
}

fn compared_value((name, kind): &(String, String), value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, value.as_str().map_or(value.clone(), meaning))).collect()
        }
        Value::Array(maps) if kind.contains("Map(") => {
            maps.into_iter().map(|map| compared_value(&(name.clone(), kind.clone()), map)).collect()
        }
        Value::String(text) if name == "Body" => meaning(&text),
        other => other,
    }
}

/// The first few differences, in words.
fn differ(table: &str, columns: &[(String, String)], theirs: &[Vec<String>], ours: &[Vec<String>]) -> String {
    let mut told = String::new();
    for (theirs, ours) in theirs.iter().zip(ours).filter(|(theirs, ours)| theirs != ours).take(5) {
        for (((name, _), theirs), ours) in columns.iter().zip(theirs).zip(ours).filter(|((_, a), b)| a != b) {
            told += &format!("\n{table}.{name}\n  theirs {theirs}\n  ours   {ours}");
        }
    }
    told
}

/// What the end-to-end tests send, as if of now.
fn recording(now: u64) -> Vec<(&'static str, String)> {
    let text = include_str!("../../../../e2e/recordings/shop.jsonl");
    let text = text.replace("17672256", &now.to_string()[..8]);
    let path = |line: &str| match &line[..12] {
        r#"{"resourceSp"# => "/v1/traces",
        r#"{"resourceLo"# => "/v1/logs",
        _ => "/v1/metrics",
    };
    text.lines().map(|line| (path(line), line.to_owned())).collect()
}

/// Some of everything, the same each time but for the clock.
fn generated(now: u64) -> [(&'static str, Vec<u8>); 3] {
    let mut of = Random { dice: StdRng::seed_from_u64(7), now };
    let spans = (0..60).map(|_| of.span()).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(of.scope()), spans, schema_url: "spans".into() }];
    let resource_spans = vec![ResourceSpans { resource: Some(of.resource()), scope_spans, schema_url: "s".into() }];
    let log_records = (0..60).map(|_| of.log()).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(of.scope()), log_records, schema_url: "logs".into() }];
    let resource_logs = vec![ResourceLogs { resource: Some(of.resource()), scope_logs, schema_url: "l".into() }];
    let metrics = (0..60).map(|which| of.metric(which % 5)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(of.scope()), metrics, schema_url: "metrics".into() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(of.resource()), scope_metrics, schema_url: "m".into() }];
    [
        ("/v1/traces", ExportTraceServiceRequest { resource_spans }.encode_to_vec()),
        ("/v1/logs", ExportLogsServiceRequest { resource_logs }.encode_to_vec()),
        ("/v1/metrics", ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()),
    ]
}

struct Random {
    dice: StdRng,
    now: u64,
}

impl Random {
    fn up_to(&mut self, most: u64) -> u64 {
        self.dice.random_range(0..=most)
    }

    /// Some, or none.
    fn some<T>(&mut self, most: u64, mut one: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..self.up_to(most)).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.up_to(3) == 0 { None } else { Some(one(self)) }
    }

    fn time(&mut self) -> u64 {
        self.now - self.dice.random_range(0..3_600_000_000_000)
    }

    fn id(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|_| self.dice.random_range(1..=255)).collect()
    }

    fn text(&mut self) -> String {
        let texts = ["", "a", "é😀", "with \"quotes\" and \\", "<b>&amp;</b>", "a\ttab\nand a line", "\u{2028}"];
        texts[self.up_to(6) as usize].to_owned()
    }

    fn double(&mut self) -> f64 {
        let doubles = [0.0, -0.0, 1.0, 0.1, -12.5, 1e-9, 1e21, 123_456_789.125, f64::MAX, f64::NAN, f64::INFINITY];
        doubles[self.up_to(10) as usize]
    }

    fn value(&mut self, depth: u64) -> AnyValue {
        let value = match self.up_to(if depth == 0 { 4 } else { 6 }) {
            0 => Any::StringValue(self.text()),
            1 => Any::BoolValue(self.up_to(1) == 1),
            2 => Any::IntValue([0, -1, i64::MAX, (1 << 53) + 1][self.up_to(3) as usize]),
            // Theirs of a nested value is empty where one in it is not finite.
            3 => Any::DoubleValue(Some(self.double()).filter(|double| depth == 2 || double.is_finite()).unwrap_or(2.5)),
            4 => Any::BytesValue(self.id(3)),
            5 => Any::ArrayValue(ArrayValue { values: self.some(3, |of| of.value(depth - 1)) }),
            _ => Any::KvlistValue(KeyValueList { values: self.attributes(depth - 1) }),
        };
        AnyValue { value: Some(value) }
    }

    /// No key twice: of those the last value stays with us, and all with them.
    fn attributes(&mut self, depth: u64) -> Vec<KeyValue> {
        let keys = ["z", "a", "k.m", "é", "0"];
        let mut some = Vec::new();
        for key in keys {
            if self.up_to(1) == 1 {
                some.push(KeyValue { key: key.to_owned(), value: Some(self.value(depth)), ..Default::default() });
            }
        }
        some
    }

    fn resource(&mut self) -> Resource {
        let mut attributes = self.attributes(2);
        let name = Some(AnyValue { value: Some(Any::StringValue("shop".into())) });
        attributes.push(KeyValue { key: "service.name".into(), value: name, ..Default::default() });
        Resource { attributes, ..Default::default() }
    }

    fn scope(&mut self) -> InstrumentationScope {
        let attributes = self.attributes(2);
        InstrumentationScope { name: "lib".into(), version: "1.2".into(), attributes, dropped_attributes_count: 3 }
    }

    fn span(&mut self) -> Span {
        let start = self.time();
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            parent_span_id: self.maybe(|of| of.id(8)).unwrap_or_default(),
            trace_state: self.text(),
            name: self.text(),
            kind: self.up_to(5) as i32,
            start_time_unix_nano: start,
            end_time_unix_nano: start + self.up_to(1_000_000),
            attributes: self.attributes(2),
            events: self.some(3, |of| Event {
                time_unix_nano: of.time(),
                name: of.text(),
                attributes: of.attributes(1),
                ..Default::default()
            }),
            links: self.some(3, |of| Link {
                trace_id: of.id(16),
                span_id: of.id(8),
                trace_state: of.text(),
                attributes: of.attributes(1),
                ..Default::default()
            }),
            status: self.maybe(|of| Status { message: of.text(), code: of.up_to(2) as i32 }),
            flags: 0x101,
            ..Default::default()
        }
    }

    fn log(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.maybe(Random::time).unwrap_or_default(),
            observed_time_unix_nano: self.time(),
            severity_number: self.up_to(24) as i32,
            severity_text: self.text(),
            body: self.maybe(|of| of.value(2)),
            attributes: self.attributes(2),
            flags: self.up_to(1) as u32,
            trace_id: self.maybe(|of| of.id(16)).unwrap_or_default(),
            span_id: self.maybe(|of| of.id(8)).unwrap_or_default(),
            event_name: self.text(),
            ..Default::default()
        }
    }

    fn metric(&mut self, which: u64) -> Metric {
        let aggregation_temporality = self.up_to(2) as i32;
        let data = match which {
            0 => Data::Gauge(Gauge { data_points: self.some(4, Random::number) }),
            1 => Data::Sum(Sum {
                data_points: self.some(4, Random::number),
                aggregation_temporality,
                is_monotonic: self.up_to(1) == 1,
            }),
            2 => Data::Histogram(Histogram { data_points: self.some(4, Random::histogram), aggregation_temporality }),
            3 => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.some(4, Random::exponential_histogram),
                aggregation_temporality,
            }),
            _ => Data::Summary(Summary { data_points: self.some(4, Random::summary) }),
        };
        let (name, description, unit) = (format!("metric {which}"), self.text(), "ms".to_owned());
        Metric { name, description, unit, data: Some(data), ..Default::default() }
    }

    fn number(&mut self) -> NumberDataPoint {
        let value = match self.up_to(1) {
            0 => number_data_point::Value::AsDouble(self.double()),
            _ => number_data_point::Value::AsInt((1 << 53) + 1),
        };
        NumberDataPoint {
            attributes: self.attributes(2),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.exemplars(),
            flags: self.up_to(1) as u32,
            value: Some(value),
        }
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.some(2, |of| Exemplar {
            filtered_attributes: of.attributes(1),
            time_unix_nano: of.time(),
            span_id: of.maybe(|of| of.id(8)).unwrap_or_default(),
            trace_id: of.maybe(|of| of.id(16)).unwrap_or_default(),
            value: Some(match of.up_to(1) {
                0 => exemplar::Value::AsDouble(of.double()),
                _ => exemplar::Value::AsInt(-5),
            }),
        })
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: 7,
            sum: self.maybe(Random::double),
            bucket_counts: vec![1, 2, 4],
            explicit_bounds: vec![0.5, 10.0],
            exemplars: self.exemplars(),
            min: self.maybe(Random::double),
            max: self.maybe(Random::double),
            ..Default::default()
        }
    }

    fn exponential_histogram(&mut self) -> ExponentialHistogramDataPoint {
        let buckets = |of: &mut Random| Buckets { offset: -3, bucket_counts: of.some(3, |of| of.up_to(9)) };
        ExponentialHistogramDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: 7,
            sum: self.maybe(Random::double),
            scale: -2,
            zero_count: 1,
            positive: self.maybe(buckets),
            negative: self.maybe(buckets),
            exemplars: self.exemplars(),
            min: self.maybe(Random::double),
            max: self.maybe(Random::double),
            zero_threshold: 0.25,
            ..Default::default()
        }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: 7,
            sum: self.double(),
            quantile_values: self.some(3, |of| ValueAtQuantile { quantile: 0.5, value: of.double() }),
            ..Default::default()
        }
    }
}
