//! What a well-behaved exporter sends is on disk, and visible to readers, when it has its answer.

use model::Table;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{TestCollector, gzip, post, span, traces};

async fn channel(collector: &TestCollector) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", collector.grpc)).expect("an address is a valid endpoint");
    endpoint.connect().await.expect("the collector listens")
}

fn logs(count: usize) -> ExportLogsServiceRequest {
    let log_records = vec![LogRecord { time_unix_nano: 1, ..Default::default() }; count];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }
}

fn metrics(points: usize) -> ExportMetricsServiceRequest {
    let data_points = vec![NumberDataPoint { time_unix_nano: 1, ..Default::default() }; points];
    let data = Some(metric::Data::Gauge(Gauge { data_points }));
    let metrics = vec![Metric { name: "queue.length".into(), data, ..Default::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..Default::default() }] }
}

#[tokio::test]
async fn every_signal_over_grpc_plain_and_gzipped() {
    let collector = TestCollector::start().await;
    let channel = channel(&collector).await;
    for gzip in [false, true] {
        let mut spans = TraceServiceClient::new(channel.clone());
        let mut records = LogsServiceClient::new(channel.clone());
        let mut points = MetricsServiceClient::new(channel.clone());
        if gzip {
            spans = spans.send_compressed(CompressionEncoding::Gzip);
            records = records.send_compressed(CompressionEncoding::Gzip);
            points = points.send_compressed(CompressionEncoding::Gzip);
        }
        let kept = spans.export(traces(vec![span(1), span(2)])).await.expect("good spans are kept").into_inner();
        assert_eq!(kept.partial_success, None, "unset on full success");
        let kept = records.export(logs(3)).await.expect("good records are kept").into_inner();
        assert_eq!(kept.partial_success, None);
        let kept = points.export(metrics(4)).await.expect("good points are kept").into_inner();
        assert_eq!(kept.partial_success, None);
    }
    assert_eq!(collector.count(Table::Spans).await, 4);
    assert_eq!(collector.count(Table::Logs).await, 6);
    assert_eq!(collector.count(Table::Metrics).await, 8);
    collector.stopped().await;
}

#[tokio::test]
async fn every_signal_over_http_in_both_encodings() {
    let collector = TestCollector::start().await;
    let protobuf = [("content-type", "application/x-protobuf")];
    let bodies = [
        ("/v1/traces", traces(vec![span(1)]).encode_to_vec()),
        ("/v1/logs", logs(1).encode_to_vec()),
        ("/v1/metrics", metrics(1).encode_to_vec()),
    ];
    for (path, body) in bodies {
        let answer = post(collector.http, path, &protobuf, &body).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    }
    let json = [("content-type", "Application/JSON; charset=utf-8"), ("content-encoding", "gzip")];
    let bodies = [
        (
            "/v1/traces",
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
                "spanId":"eee19b7ec3c1b174","name":"a","startTimeUnixNano":"1","endTimeUnixNano":2,"unheardOf":[]}]}]}]}"#,
        ),
        ("/v1/logs", r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#),
        (
            "/v1/metrics",
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m",
                "gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":"7"}]}}]}]}]}"#,
        ),
    ];
    for (path, body) in bodies {
        let answer = post(collector.http, path, &json, &gzip(body.as_bytes())).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(collector.count(Table::Spans).await, 2);
    assert_eq!(collector.count(Table::Logs).await, 2);
    assert_eq!(collector.count(Table::Metrics).await, 2);
    collector.stopped().await;
}

#[tokio::test]
async fn a_batch_over_the_four_mebibytes_of_grpc_libraries_is_kept() {
    let collector = TestCollector::start().await;
    let mut large = span(1);
    large.name = "x".repeat(6 << 20);
    let mut client = TraceServiceClient::new(channel(&collector).await);
    client.export(traces(vec![large])).await.expect("six MiB are within 64");
    assert_eq!(collector.count(Table::Spans).await, 1);
    collector.stopped().await;
}

#[tokio::test]
async fn an_exporter_pointed_at_the_other_port_is_understood() {
    let collector = TestCollector::start().await;
    let body = traces(vec![span(1)]).encode_to_vec();
    let answer = post(collector.grpc, "/v1/traces", &[("content-type", "application/x-protobuf")], &body).await;
    assert_eq!(answer.status, 200);
    let endpoint = Endpoint::from_shared(format!("http://{}", collector.http)).expect("an address is a valid endpoint");
    let mut client = TraceServiceClient::new(endpoint.connect().await.expect("the collector listens"));
    client.export(traces(vec![span(2)])).await.expect("gRPC is understood on the HTTP port");
    assert_eq!(collector.count(Table::Spans).await, 2);
    collector.stopped().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let collector = TestCollector::start().await;
    let body = traces((1..=100).map(span).collect()).encode_to_vec();
    assert_eq!(
        post(collector.http, "/v1/traces", &[("content-type", "application/x-protobuf")], &body).await.status,
        200
    );
    let data = collector.stopped().await;
    let reader = store::Reader::open(data.path()).expect("the folder exists");
    let snapshot = reader.snapshot(Table::Spans).await.expect("the folder is readable");
    let cold: u64 = snapshot.files.iter().map(|file| file.rows).sum();
    let hot: usize = snapshot.hot.iter().map(|rows| rows.num_rows()).sum();
    assert_eq!(cold + hot as u64, 100);
}
