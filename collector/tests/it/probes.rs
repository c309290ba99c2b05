//! What is said to whoever watches the process: /health, /ready, /metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{TestCollector, eventually, head, post, request, span, traces};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

/// Every sample by its name and labels.
async fn samples(of: SocketAddr) -> BTreeMap<String, f64> {
    let answer = request(of, "GET", "/metrics", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).expect("the format is text");
    let mut family = String::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a family has a type");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert_eq!(series.split('{').next(), Some(family.as_str()), "{line}");
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_count_what_happened() {
    let collector = TestCollector::start().await;
    let mut nobody = span(3);
    nobody.trace_id = vec![0; 16];
    let body = traces(vec![span(1), span(2), nobody]).encode_to_vec();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
    assert_eq!(post(collector.http, "/v1/logs", &PROTOBUF, b"\xff").await.status, 400);
    for port in [collector.http, collector.grpc] {
        let samples = samples(port).await;
        let value = |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series} in {samples:?}"));
        assert_eq!(value(r#"faultline_collector_requests_total{otlp_signal="traces",outcome="accepted"}"#), 1.0);
        assert_eq!(value(r#"faultline_collector_requests_total{otlp_signal="logs",outcome="invalid"}"#), 1.0);
        assert_eq!(value(r#"faultline_collector_items_total{otlp_signal="traces",outcome="accepted"}"#), 2.0);
        assert_eq!(value(r#"faultline_collector_items_total{otlp_signal="traces",outcome="rejected"}"#), 1.0);
        assert_eq!(value(r#"faultline_collector_worker_busy_seconds{worker="decoder"}"#), 0.0);
        assert!(value("faultline_collector_disk_free_bytes") > 0.0);
    }
    collector.stopped().await;
}

#[tokio::test]
async fn every_queue_tells_length_capacity_and_refusals() {
    let collector = TestCollector::with(&["--otlp-in-flight-bytes-max=16"]).await;
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &[0; 100]).await.status, 503);
    let samples = samples(collector.http).await;
    let of = |what: &str, queue: &str| {
        samples.get(&format!("faultline_collector_queue_{what}{{queue=\"{queue}\"}}")).copied()
    };
    for queue in [
        "grpc_connections",
        "http_connections",
        "in_flight_requests",
        "in_flight_bytes",
        "decoders",
        "unwritten_traces_requests",
        "unwritten_logs_requests",
        "unwritten_metrics_requests",
        "unwritten_bytes",
        "log_bytes",
        "held_bytes",
    ] {
        let (length, capacity) = (of("length", queue).expect("a length"), of("capacity", queue).expect("a capacity"));
        assert!(capacity > 0.0 && length <= capacity, "{queue}: {length} of {capacity}");
        let refused = if queue == "in_flight_bytes" { 1.0 } else { 0.0 };
        assert_eq!(of("refused_total", queue), Some(refused), "{queue}");
    }
    assert!(of("length", "http_connections") >= Some(1.0), "the one that asks");
    collector.stopped().await;
}

#[tokio::test]
async fn a_full_store_is_healthy_and_not_ready() {
    let collector = TestCollector::with(&["--log-bytes-max=1"]).await;
    let (health, ready) = (collector.health().await, request(collector.http, "GET", "/ready", &[], b"").await);
    assert_eq!((health.0, ready.status), (200, 503), "a restart would free nothing");
    assert_eq!(ready.json()["status"], "full");
    assert_eq!(ready.json()["reasons"][0], "the log has reached its size on disk");
    collector.stopped().await;
}

#[tokio::test]
async fn probes_have_a_port_that_exporters_cannot_fill() {
    let collector = TestCollector::with(&["--otlp-probe=127.0.0.1:0", "--otlp-connections-max=1"]).await;
    let probe = collector.probe.expect("it was asked for");
    let mut exporter = TcpStream::connect(collector.http).await.expect("it listens");
    exporter.write_all(head("POST", "/v1/traces", &PROTOBUF, 100).as_bytes()).await.expect("it reads");
    eventually("the request is in flight", async || {
        let answer = request(probe, "GET", "/health", &[], b"").await;
        answer.json()["in_flight"]["requests"] == 1
    })
    .await;
    assert_eq!(request(probe, "GET", "/ready", &[], b"").await.status, 200);
    assert_eq!(post(probe, "/v1/traces", &PROTOBUF, b"").await.status, 404, "nothing else is served there");

    collector.ask_to_stop();
    eventually("it says that it stops", async || {
        let answer = request(probe, "GET", "/ready", &[], b"").await;
        answer.status == 503 && answer.json()["status"] == "stopping"
    })
    .await;
    assert_eq!(request(probe, "GET", "/health", &[], b"").await.status, 200, "to stop is not to be ill");
    drop(exporter);
    collector.stopped().await;
}
