//! A bucket of an S3 server, and others who read it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{Load, PATIENCE, PROTOBUF, away_seconds, sink};
use crate::far_end::Way;
use crate::harness::{TestCollector, eventually, now_ns, post, recent_span, traces, within};

/// An S3 server is away for a while under load, and every call to it is cut off again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3 server: deploy/testbed/s3 runs it"]
async fn a_bucket_that_is_away_under_load_gets_every_file_and_others_read_every_row_once() {
    let given =
        |name| std::env::var(name).unwrap_or_else(|_| panic!("run this by deploy/testbed/s3, which sets {name}"));
    let endpoint = given("FAULTLINE_TEST_S3_ENDPOINT");
    let url = format!("{}/test-{}", given("FAULTLINE_TEST_S3_URL"), now_ns());
    let way = Way::to(endpoint.trim_start_matches("http://").parse().expect("numbers")).await;
    let settings = [
        format!("--s3-out-url={url}"),
        format!("--s3-out-endpoint=http://{}", way.address),
        // The smallest that S3 takes.
        "--s3-out-part-bytes=5242880".to_owned(),
        "--s3-out-age-min-seconds=0".to_owned(),
        "--s3-out-replaced-age-min-seconds=1".to_owned(),
        "--sink-retry-min-ms=20".to_owned(),
        "--sink-retry-max-ms=1000".to_owned(),
        "--segment-age-max-ms=200".to_owned(),
    ];
    let collector = TestCollector::with(&settings.each_ref().map(String::as_str)).await;
    let (load, mut senders) = Load::start(collector.http);
    let delivered = async || sink(&collector, "s3").await["rows_delivered"].as_u64().unwrap_or(0);
    eventually("it flows", async || delivered().await > 5_000).await;

    way.close();
    eventually("it is told", async || sink(&collector, "s3").await["state"] == "fails").await;
    let closed = Instant::now();
    let away = Duration::from_secs(away_seconds());
    while closed.elapsed() < away {
        tokio::task::yield_now().await;
    }
    let lag = sink(&collector, "s3").await["lag"].clone();
    println!("after {away:?}: {lag}");
    assert!(lag["rows"].as_u64() > Some(0), "{lag}");
    way.open();
    let mut cuts = tokio::time::interval(Duration::from_millis(150));
    for _ in 0..40 {
        cuts.tick().await;
        way.cut();
    }
    load.ended.store(true, Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.expect("every request was answered");
    }
    // One file of more than a part: what makes it large is random, so that it stays large.
    let sent = load.sent() + LARGE_SPANS;
    let large = (load.sent()..sent).map(large_span).collect();
    assert_eq!(post(collector.http, "/v1/traces", &PROTOBUF, &traces(large).encode_to_vec()).await.status, 200);
    within(PATIENCE + away, "everything is copied", async || {
        let (_, health) = collector.health().await;
        health["store"]["file_rows"] == sent && sink(&collector, "s3").await["lag"]["rows"] == 0
    })
    .await;
    let (_, health) = collector.health().await;
    assert!(health["store"]["file_bytes"].as_u64() > Some(5 << 20), "a file was too large for one part");
    let state = sink(&collector, "s3").await;
    println!("{sent} spans, {} attempts failed, {} rows copied", state["failures"], state["rows_delivered"]);
    assert_eq!((&state["rows_refused"], &state["lag"]["lost_rows"]), (&0.into(), &0.into()), "{state}");

    let readers = given("FAULTLINE_TEST_S3_READERS");
    let (program, script) = readers.split_once(' ').expect("a program and its script");
    let asked = std::process::Command::new(program).args([script, &endpoint, &url, "spans", "span_id"]).output();
    let asked = asked.expect("it runs");
    let (said, moaned) = (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert_eq!(said, format!("pyarrow\t{sent}\t{sent}\nduckdb\t{sent}\t{sent}\n"), "{moaned}");
    collector.stopped().await;
}

const LARGE_SPANS: u64 = 3_000;

fn large_span(number: u64) -> Span {
    let noise: String = (0..4_000).map(|_| rand::random_range('0'..='z')).collect();
    Span { trace_state: noise, ..recent_span(number) }
}
