//! Tail sampling: what the sinks send on is decided when a trace has had time to be whole, and a restart loses none that waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use model::Table;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use tempfile::TempDir;

use crate::far_end::{FarEnd, answer};
use crate::harness::{TestCollector, eventually, post, recent_span, request, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const FAILED: &str = r#"policies = [{ name = "failed", keep = { status = "Error" } }]"#;
const HOUR_MS: u64 = 3_600_000;

/// A far end that takes everything while it is open, and a collector that sends it what is sampled.
struct Sampling {
    far: FarEnd,
    open: Arc<AtomicBool>,
    policies: TempDir,
    collector: TestCollector,
}

impl Sampling {
    async fn start(wait_ms: u64, policies: &str) -> Sampling {
        let open = Arc::new(AtomicBool::new(true));
        let taking = Arc::clone(&open);
        let far = FarEnd::start(move |_, _| answer(if taking.load(Relaxed) { 200 } else { 503 }, "")).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder, wait_ms, policies);
        let data = tempfile::tempdir().expect("a temporary folder");
        let collector = within(data, &far, &folder).await;
        Sampling { far, open, policies: folder, collector }
    }

    async fn restarted(self, wait_ms: u64, policies: &str) -> Sampling {
        let data = self.collector.stopped().await;
        write(&self.policies, wait_ms, policies);
        let collector = within(data, &self.far, &self.policies).await;
        Sampling { collector, ..self }
    }

    async fn send(&self, spans: Vec<Span>) {
        let body = traces(spans).encode_to_vec();
        assert_eq!(post(self.collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    }

    /// Names of the spans that the far end has taken, in the order of their names.
    fn arrived(&self) -> Vec<String> {
        assert!(self.open.load(Relaxed), "what it refused is in its book as well");
        let asked = self.far.asked().into_iter().filter(|asked| asked.path == "/v1/traces");
        let requests = asked.map(|asked| ExportTraceServiceRequest::decode(&asked.body[..]).expect("it is OTLP"));
        let spans = requests.flat_map(|request| request.resource_spans).flat_map(|it| it.scope_spans);
        let mut names: Vec<String> = spans.flat_map(|it| it.spans).map(|span| span.name).collect();
        names.sort_unstable();
        names
    }

    /// What was read is decided, and the sink has its part of it.
    async fn drained(&self) {
        for reader in ["tail-sampling", "otlp"] {
            let lag = format!(r#"faultline_collector_sink_lag_rows{{sink_name="{reader}",otlp_signal="traces"}} 0"#);
            self.eventually_says(&lag).await;
        }
    }

    async fn eventually_says(&self, sample: &str) {
        eventually(sample, async || {
            let metrics = request(self.collector.http, "GET", "/metrics", &[], b"").await;
            String::from_utf8(metrics.body).expect("it is text").lines().any(|line| line == sample)
        })
        .await;
    }

    async fn waits(&self, traces: u64) {
        self.eventually_says(&format!(r#"faultline_collector_queue_length{{queue="sampling_traces"}} {traces}"#)).await;
    }
}

fn write(folder: &TempDir, wait_ms: u64, policies: &str) {
    let text = format!("[tail-sampling]\ndecision_wait_ms = {wait_ms}\n{policies}\n");
    std::fs::write(file(folder), text).expect("a temporary folder");
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("faultline.toml")
}

async fn within(data: TempDir, far: &FarEnd, policies: &TempDir) -> TestCollector {
    let url = format!("--otlp-out-url={}", far.url());
    let policies = format!("--tail-sampling={}", file(policies).display());
    let settings = ["--otlp-out-protocol=http", "--otlp-out-compression=none", "--otlp-out-wait-max-ms=1"];
    let pace = ["--sink-retry-min-ms=1", "--sink-retry-max-ms=20", url.as_str(), policies.as_str()];
    TestCollector::within(data, &[&settings[..], &pace[..]].concat()).await
}

/// A span of that trace.
fn good(trace: u64, name: &str) -> Span {
    let name = name.to_owned();
    let mut span_id = name.clone().into_bytes();
    span_id.resize(8, 1);
    Span { name, span_id, ..recent_span(trace) }
}

fn failed(trace: u64, name: &str) -> Span {
    Span { status: Some(Status { code: 2, message: String::new() }), ..good(trace, name) }
}

#[tokio::test]
async fn only_sampled_traces_go_on_and_whole_while_the_store_keeps_all() {
    let sampling = Sampling::start(HOUR_MS, FAILED).await;
    sampling.send(vec![good(1, "a1"), good(2, "b1")]).await;
    sampling.send(vec![failed(1, "a2"), good(2, "b2"), good(3, "c1")]).await;
    sampling.waits(3).await;
    assert_eq!(sampling.collector.count(Table::Spans).await, 5);
    // The log has all of it by now: nothing comes late.
    let sampling = sampling.restarted(50, FAILED).await;
    sampling.drained().await;
    assert_eq!(sampling.arrived(), ["a1", "a2"]);
    for sample in [
        r#"faultline_collector_sampling_traces_total{outcome="kept"} 1"#,
        r#"faultline_collector_sampling_traces_total{outcome="left_out"} 2"#,
        r#"faultline_collector_sampling_policy_traces_total{policy="failed",outcome="kept"} 1"#,
        r#"faultline_collector_sink_rows_total{sink_name="otlp",otlp_signal="traces",outcome="delivered"} 2"#,
        r#"faultline_collector_sink_rows_total{sink_name="otlp",otlp_signal="traces",outcome="left_out"} 3"#,
    ] {
        sampling.eventually_says(sample).await;
    }
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn a_restart_loses_no_trace_that_waits() {
    let sampling = Sampling::start(HOUR_MS, FAILED).await;
    sampling.send(vec![good(1, "a1"), good(2, "b1")]).await;
    sampling.waits(2).await;
    assert_eq!(sampling.arrived(), Vec::<String>::new());
    let sampling = sampling.restarted(HOUR_MS, FAILED).await;
    sampling.waits(2).await;
    sampling.send(vec![failed(1, "a2"), good(2, "b2")]).await;
    let sampling = sampling.restarted(2000, FAILED).await;
    sampling.drained().await;
    assert_eq!(sampling.arrived(), ["a1", "a2"], "what came before the restarts has been judged with what came after");
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn late_spans_follow_the_decision_also_after_a_restart() {
    let mut sampling = Sampling::start(50, FAILED).await;
    sampling.send(vec![failed(1, "a1"), good(2, "b1")]).await;
    sampling.drained().await;
    assert_eq!(sampling.arrived(), ["a1"]);
    for round in 2..=3 {
        sampling.send(vec![good(1, &format!("a{round}")), failed(2, &format!("b{round}"))]).await;
        sampling.drained().await;
        sampling.eventually_says("faultline_collector_sampling_late_total 2").await;
        sampling = sampling.restarted(50, FAILED).await;
    }
    assert_eq!(sampling.arrived(), ["a1", "a2", "a3"]);
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn a_range_that_a_sink_gets_again_has_the_same_rows_whatever_the_policies_are_then() {
    let sampling = Sampling::start(50, FAILED).await;
    sampling.open.store(false, Relaxed);
    sampling.send(vec![failed(1, "a1"), good(2, "b1"), good(1, "a2")]).await;
    eventually("it was tried", async || !sampling.far.asked().is_empty()).await;
    let sampling = sampling.restarted(50, r#"policies = [{ name = "all", keep = "always" }]"#).await;
    sampling.open.store(true, Relaxed);
    sampling.drained().await;
    sampling.send(vec![good(3, "c1")]).await;
    sampling.drained().await;
    let mut arrived = sampling.arrived();
    arrived.dedup();
    assert_eq!(arrived, ["a1", "a2", "c1"]);
    sampling.collector.stopped().await;
}

/// As a crash leaves it that came after the verdicts were written, and before anybody's place had moved.
#[tokio::test]
async fn what_was_written_down_is_not_decided_again() {
    let sampling = Sampling::start(50, FAILED).await;
    sampling.send(vec![failed(1, "a1"), good(2, "b1"), good(1, "a2")]).await;
    sampling.drained().await;
    assert_eq!(sampling.arrived(), ["a1", "a2"]);
    let Sampling { far, open, policies, collector } = sampling;
    let data = collector.stopped().await;
    let folder = data.path().join("telemetry/cursors");
    for reader in ["tail-sampling", "otlp"] {
        let place = folder.join(format!("{reader}.traces.json"));
        let mut mark: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&place).expect("it is there")).expect("it is JSON");
        (mark["offset"], mark["rows"]) = (0.into(), 0.into());
        std::fs::write(&place, mark.to_string()).expect("it can be written");
    }
    for decided in ["decided-0.log", "decided-1.log"] {
        std::fs::remove_file(folder.join("tail-sampling.traces").join(decided)).expect("it is there");
    }
    write(&policies, 50, r#"policies = [{ name = "others", keep = { not = { status = "Error" } } }]"#);
    let collector = within(data, &far, &policies).await;
    let sampling = Sampling { far, open, policies, collector };
    sampling.send(vec![failed(2, "b2"), failed(1, "a3"), good(3, "c1")]).await;
    sampling.drained().await;
    assert_eq!(sampling.arrived(), ["a1", "a1", "a2", "a2", "a3", "c1"], "late spans follow what is known of a row");
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn a_sampler_that_cannot_read_its_place_rests_and_so_do_traces_of_sinks_alone() {
    let sampling = Sampling::start(50, FAILED).await;
    let Sampling { far, policies, collector, .. } = sampling;
    let data = collector.stopped().await;
    std::fs::write(data.path().join("telemetry/cursors/tail-sampling.traces.json"), b"{").expect("it is there");
    let collector = within(data, &far, &policies).await;
    let body = traces(vec![failed(1, "a1")]).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    let (code, health) = collector.health().await;
    let states = health["sinks"].as_array().expect("a list").iter();
    let states: Vec<String> = states.map(|it| format!("{} {} {}", it["sink"], it["signal"], it["state"])).collect();
    let expected = ["otlp\" \"traces\" \"rests", "otlp\" \"logs\" \"works", "otlp\" \"metrics\" \"works"];
    let expected = [&expected[..], &["tail-sampling\" \"traces\" \"rests"]].concat();
    assert_eq!((code, states), (200, expected.iter().map(|it| format!("\"{it}\"")).collect()));
    collector.stopped().await;
    assert!(far.asked().is_empty());
}

#[tokio::test]
async fn the_oldest_are_decided_early_when_too_many_wait() {
    let sampling = Sampling::start(HOUR_MS, &format!("traces_max = 2\n{FAILED}")).await;
    sampling.send((1..=3).map(|trace| failed(trace, &format!("a{trace}"))).collect()).await;
    sampling.eventually_says("faultline_collector_sampling_early_total 1").await;
    sampling.send((4..=5).map(|trace| good(trace, &format!("b{trace}"))).collect()).await;
    sampling.eventually_says("faultline_collector_sampling_early_total 3").await;
    sampling.waits(2).await;
    eventually("the first request is settled", async || sampling.arrived() == ["a1", "a2", "a3"]).await;
    sampling.collector.stopped().await;

    let sampling = Sampling::start(HOUR_MS, &format!("spans_max = 4\n{FAILED}")).await;
    sampling.send((0..3).map(|at| failed(1, &format!("a{at}"))).collect()).await;
    sampling.waits(1).await;
    sampling.send((0..3).map(|at| failed(2, &format!("b{at}"))).collect()).await;
    eventually("the first trace is settled", async || sampling.arrived() == ["a0", "a1", "a2"]).await;
    sampling.waits(1).await;
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn other_signals_do_not_wait() {
    let sampling = Sampling::start(HOUR_MS, FAILED).await;
    sampling.send(vec![failed(1, "a1")]).await;
    let log = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let json = [("content-type", "application/json")];
    assert_eq!(post(sampling.collector.http, "/v1/logs", &json, log).await.status, 200);
    eventually("the record goes on", async || sampling.far.asked().iter().any(|asked| asked.path == "/v1/logs")).await;
    assert_eq!(sampling.arrived(), Vec::<String>::new());
    sampling.collector.stopped().await;
}

#[tokio::test]
async fn sampling_that_is_turned_off_sends_what_waits_too() {
    let sampling = Sampling::start(HOUR_MS, FAILED).await;
    sampling.send(vec![good(1, "a1")]).await;
    sampling.waits(1).await;
    let Sampling { far, collector, .. } = sampling;
    let url = format!("--otlp-out-url={}", far.url());
    let settings = ["--otlp-out-protocol=http", "--otlp-out-wait-max-ms=1", url.as_str()];
    let collector = TestCollector::within(collector.stopped().await, &settings).await;
    eventually("it arrives", async || far.asked().iter().any(|asked| asked.path == "/v1/traces")).await;
    collector.stopped().await;
}

#[tokio::test]
async fn policies_that_make_no_sense_are_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policies = format!("--tail-sampling={}", file(&folder).display());
    for (text, told) in [
        (None, "could not read the policies of --tail-sampling"),
        (Some("[tail-sampling]\npolicies = []"), "nothing would go on"),
        (Some("[tail-sampling]\npolicies = [{ name = \"a\", keep = { latency = 1 } }]"), "latency_ms"),
        (Some("[other]"), "it has no table [tail-sampling]"),
    ] {
        if let Some(text) = text {
            std::fs::write(file(&folder), text).expect("a temporary folder");
        }
        let data = tempfile::tempdir().expect("a temporary folder");
        let error = collector::Server::bind(crate::harness::args(data.path(), &[&policies])).await.err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("{text:?} was accepted")));
        assert!(error.contains(told), "{error}");
    }
}
