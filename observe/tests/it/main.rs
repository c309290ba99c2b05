//! A process's telemetry, seen from a collector.

mod receiver;

use std::time::Duration;

use axum::{Router, routing::get};
use clap::Parser;
use observe::{Args, Counts, SignalCounts, http::Client};
use receiver::Receiver;
use tracing::{Instrument, info, info_span};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    observe: Args,
}

fn args(endpoint: &str, counts_dir: &std::path::Path) -> Args {
    let counts_dir = counts_dir.to_str().expect("a temporary folder has a plain name");
    let command = ["test", "--otlp-endpoint", endpoint, "--counts-dir", counts_dir, "--metric-interval-ms", "100"];
    Command::parse_from(command).observe
}

/// One test: the subscriber and the providers belong to the process.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_makes_is_what_the_collector_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The collector's place is known, but nobody is there yet.
    let reserved = Receiver::reserve().await;
    let telemetry = observe::init("till", &args(&reserved.endpoint(), folder.path())).expect("telemetry starts");

    for number in 0..500 {
        let span = info_span!("ring", number);
        async { info!(number, "rang {number}") }.instrument(span).await;
    }
    // Outage: the exporter has begun to try by now, or it has not; either way nothing may be lost.
    let receiver = reserved.start();
    receiver.until(|seen| seen.spans.len() >= 500 && seen.logs.len() >= 500 && seen.points > 0).await;

    let answer = call_a_server().await;
    assert_eq!(answer, "42");
    receiver.until(|seen| seen.spans.iter().any(|span| span.name == "GET /things/{id}")).await;

    // A call that breaks in the middle costs nothing.
    receiver.cut_next_spans();
    info_span!("cut").in_scope(|| ());
    receiver.until(|seen| seen.spans.iter().any(|span| span.name == "cut")).await;

    // The last batch has an item the collector does not like: the exporter does not tell, so it is acknowledged.
    receiver.reject_next_spans(1);
    info_span!("ring", number = 500).in_scope(|| ());
    let counts = telemetry.shutdown().await;
    let seen = receiver.seen();

    for signal in [counts.spans, counts.logs, counts.points] {
        assert!(signal.made > 0);
        assert_eq!((signal.dropped, signal.acknowledged), (0, signal.made), "{counts:?}");
    }
    let stored = |signal: SignalCounts, count: usize| assert_eq!(signal.acknowledged, count as u64, "{counts:?}");
    stored(counts.logs, seen.logs.len());
    stored(counts.points, seen.points as usize);
    stored(counts.spans, seen.spans.len());

    let names = |name: &str| seen.spans.iter().filter(|span| span.name == name).count();
    assert_eq!((names("ring"), names("GET"), names("GET /things/{id}")), (501, 1, 1));
    assert_eq!(names("GET /health"), 0);
    let client = seen.spans.iter().find(|span| span.name == "GET").expect("the client's span");
    let server = seen.spans.iter().find(|span| span.name == "GET /things/{id}").expect("the server's span");
    assert_eq!((&server.trace_id, &server.parent_span_id), (&client.trace_id, &client.span_id));

    // Once each: a sample tells of one interval.
    for (metric, span) in [("http.client.request.duration", client), ("http.server.request.duration", server)] {
        let of_metric: Vec<_> =
            seen.exemplars.iter().filter(|(name, _)| name == metric).map(|(_, kept)| kept).collect();
        assert_eq!(of_metric.len(), 1, "{:?}", seen.exemplars);
        assert_eq!((&of_metric[0].trace_id, &of_metric[0].span_id), (&span.trace_id, &span.span_id));
    }

    let first = seen.logs.iter().find(|log| log.body == "rang 0").expect("the first record");
    let ring = seen.spans.iter().find(|span| span.span_id == first.span_id).expect("a record knows its span");
    assert_eq!((ring.name.as_str(), &ring.trace_id), ("ring", &first.trace_id));
    let mut uids: Vec<_> = seen.logs.iter().map(|log| log.uid.clone()).collect();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), seen.logs.len());
    for metric in ["http.server.request.duration", "http.client.request.duration", "process.cpu.time"] {
        assert!(seen.metrics.contains(metric), "{metric} is missing in {:?}", seen.metrics);
    }

    let file = std::fs::read(folder.path().join(format!("till-{}.json", counts.instance))).expect("the counts file");
    assert_eq!(serde_json::from_slice::<Counts>(&file).expect("counts as JSON"), counts);
}

async fn call_a_server() -> String {
    let router = Router::new().route("/things/{id}", get(|| async { "42" })).route("/health", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("a bound address");
    let server = tokio::spawn(axum::serve(listener, observe::http::observed(router)).into_future());
    let client = Client::new(Duration::from_secs(5));
    let answer = client.get(format!("http://{address}/things/7")).send().await.expect("an answer");
    let text = answer.text().await.expect("a body");
    // Not through the observed client: only the server's silence is of interest.
    let health = reqwest::get(format!("http://{address}/health")).await.expect("an answer");
    assert!(health.status().is_success());
    server.abort();
    text
}
