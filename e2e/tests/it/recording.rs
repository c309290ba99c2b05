//! A recording of another system goes in through HTTP/JSON and comes out again, record for record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use e2e::{Process, Query};
use serde_json::{Value, json};

/// Requests one a line; by default the small one in the repository, any other by `FAULTLINE_RECORDING`.
fn recording() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings/shop.jsonl");
    std::env::var_os("FAULTLINE_RECORDING").map_or(own, PathBuf::from)
}

/// What stands where in an OTLP request of one signal.
struct Shape {
    path: &'static str,
    signal: &'static str,
    groups: &'static str,
    scopes: &'static str,
    records: &'static str,
}

const TRACES: Shape =
    Shape { path: "/v1/traces", signal: "traces", groups: "resourceSpans", scopes: "scopeSpans", records: "spans" };
const LOGS: Shape =
    Shape { path: "/v1/logs", signal: "logs", groups: "resourceLogs", scopes: "scopeLogs", records: "logRecords" };
const METRICS: Shape = Shape {
    path: "/v1/metrics",
    signal: "metrics",
    groups: "resourceMetrics",
    scopes: "scopeMetrics",
    records: "metrics",
};

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let text = std::fs::read_to_string(recording())?;
    let requests: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let folder = tempfile::tempdir()?;
    let (path, offset) = (folder.path().display().to_string(), e2e::free_port_offset());
    let offset_text = offset.to_string();
    let place = ["--data-dir", &path, "--port-offset", &offset_text];
    let _collector = Process::start_quiet([&["collector", "--segment-age-max-ms", "100"][..], &place].concat());
    let _query = Process::start_quiet([&["query"][..], &place].concat());
    for port in [4318, 7317] {
        e2e::wait_for("both to listen", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port + offset)).await.ok()
        })
        .await?;
    }

    for request in &requests {
        for shape in [&TRACES, &LOGS, &METRICS] {
            if request.get(shape.groups).is_some() {
                let url = format!("http://127.0.0.1:{}{}", 4318 + offset, shape.path);
                let answer = reqwest::Client::new().post(url).json(request).send().await?;
                assert!(answer.status().is_success(), "{}", answer.text().await?);
            }
        }
    }

    let query = Query::at(7317 + offset);
    assert_eq!(query.number("SELECT count(*) FROM spans").await?, records(&requests, &TRACES).count() as i64);
    assert_eq!(query.number("SELECT count(*) FROM logs").await?, records(&requests, &LOGS).count() as i64);
    for (table, kinds) in [
        ("metrics", &["gauge", "sum"][..]),
        ("metric_histograms", &["histogram"]),
        ("metric_exponential_histograms", &["exponentialHistogram"]),
        ("metric_summaries", &["summary"]),
    ] {
        let sent: usize = records(&requests, &METRICS)
            .flat_map(|metric| kinds.iter().filter_map(move |kind| metric[*kind]["dataPoints"].as_array()))
            .map(Vec::len)
            .sum();
        assert_eq!(query.number(&format!("SELECT count(*) FROM {table}")).await?, sent as i64, "{table}");
    }

    for shape in [&TRACES, &LOGS] {
        let export = Process::start([
            "export",
            "--signal",
            shape.signal,
            "--from",
            "2000-01-01T00:00:00Z",
            "--to",
            "2100-01-01T00:00:00Z",
            "--port-offset",
            &offset_text,
        ])
        .output();
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let exported: Vec<Value> =
            String::from_utf8(export.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let (sent, got) = (multiset(&requests, shape), multiset(&exported, shape));
        for (record, count) in &sent {
            assert_eq!(got.get(record), Some(count), "{record}");
        }
        assert_eq!(sent.len(), got.len(), "nothing was added");
    }
    Ok(())
}

fn records<'a>(requests: &'a [Value], shape: &'a Shape) -> impl Iterator<Item = &'a Value> {
    list(requests.iter(), shape.groups)
        .flat_map(|group| list(std::iter::once(group), shape.scopes))
        .flat_map(|scope| list(std::iter::once(scope), shape.records))
}

fn list<'a>(values: impl Iterator<Item = &'a Value>, key: &'a str) -> impl Iterator<Item = &'a Value> {
    values.flat_map(move |value| value[key].as_array().into_iter().flatten())
}

/// (resource, scope, record) with how often it occurs, in the spelling that protobuf's JSON mapping makes equal.
fn multiset(requests: &[Value], shape: &Shape) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for group in list(requests.iter(), shape.groups) {
        for scope in group[shape.scopes].as_array().into_iter().flatten() {
            for record in scope[shape.records].as_array().into_iter().flatten() {
                let whole = canonical(&json!({
                    "resource": group["resource"], "resourceSchemaUrl": group["schemaUrl"],
                    "scope": scope["scope"], "scopeSchemaUrl": scope["schemaUrl"],
                    "record": record,
                }));
                *counts.entry(whole.to_string()).or_default() += 1;
            }
        }
    }
    counts
}

/// Absent and default are one in protobuf; so are numbers and their decimal strings, and hex in either case.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(key, field)| {
                // A value inside a one-of keeps its default: 0 and "" are not the absent value.
                let keep = key.ends_with("Value") && key != "arrayValue" && key != "kvlistValue";
                let field = match (key.as_str(), canonical(field)) {
                    ("traceId" | "spanId" | "parentSpanId", Value::String(id)) => json!(id.to_lowercase()),
                    ("stringValue", text) => text,
                    ("body" | "value", other) => other,
                    ("name" | "severityText" | "traceState" | "message" | "key", text) => text,
                    (_, Value::Number(number)) => json!(number.to_string()),
                    (_, other) => other,
                };
                let empty = matches!(&field, Value::Null)
                    || field == json!("")
                    || field == json!("0")
                    || field == json!(false)
                    || field.as_array().is_some_and(Vec::is_empty)
                    || field.as_object().is_some_and(|fields| fields.is_empty());
                (keep || !empty || (key == "body" && !field.is_null())).then(|| (key.clone(), field))
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}
