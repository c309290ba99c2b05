//! The collector's own telemetry, sent to the collector itself through its own ports.

use std::net::SocketAddr;

use crate::harness::{eventually, request};
use crate::process::Process;
use crate::tls::Authority;

/// Spans and log records, exports of metrics, and the points in them, that were ever accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Accepted {
    others: f64,
    exports: f64,
    points: f64,
}

async fn accepted(probe: SocketAddr) -> Accepted {
    let answer = request(probe, "GET", "/metrics", &[], b"").await;
    let text = String::from_utf8(answer.body).expect("it is text");
    let value = |what: &str, signal: &str| {
        let series = format!(r#"faultline_collector_{what}_total{{otlp_signal="{signal}",outcome="accepted"}} "#);
        let value = text.lines().find_map(|line| line.strip_prefix(series.as_str())).expect("it is counted");
        value.parse::<f64>().expect("a number")
    };
    Accepted {
        others: value("items", "traces") + value("items", "logs"),
        exports: value("requests", "metrics"),
        points: value("items", "metrics"),
    }
}

/// While nobody else sends, each export has as many points as the one before, and nothing is said that would be exported too: what
/// arrives makes nothing more to tell.
async fn settles(probe: SocketAddr) {
    let mut before = accepted(probe).await;
    // Points of an export, and how many exports had that many.
    let (mut points, mut alike) = (0.0, 0);
    eventually("ten exports are alike, and nothing else comes", async || {
        let now = accepted(probe).await;
        if now.exports == before.exports {
            return false;
        }
        let each = (now.points - before.points) / (now.exports - before.exports);
        alike = if each == points && now.others == before.others { alike + 1 } else { 0 };
        (points, before) = (each, now);
        alike == 10
    })
    .await;
    assert!(before.others > 0.0, "the lines of its start are exported");
    assert!(points > 50.0, "{points} points are not all measures");
}

#[tokio::test]
async fn what_it_tells_itself_makes_nothing_more_to_tell() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut collector = Process::start(data.path(), &[], &["http".to_owned()]);
    settles(collector.probe(data.path()).await).await;
}

#[tokio::test]
async fn it_exports_over_tls_with_a_certificate_and_a_token() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server", "localhost");
    authority.sign("agent", "agent.example");
    let path = |of: &Authority, name: &str| of.path(name).display().to_string();
    let mut settings = authority.settings("server");
    settings.push(format!("--otlp-tls-client-ca={}", path(&authority, "root.pem")));
    settings.push("--otlp-token=sesame".to_owned());
    let observed = |root: &Authority, token: &str| {
        vec![
            "https".to_owned(),
            format!("--otlp-certificate={}", path(root, "root.pem")),
            format!("--otlp-client-certificate={}", path(&authority, "agent.pem")),
            format!("--otlp-client-key={}", path(&authority, "agent.key")),
            format!("--otlp-headers=authorization=Bearer%20{token}"),
        ]
    };
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut collector = Process::start(data.path(), &settings, &observed(&authority, "sesame"));
    settles(collector.probe(data.path()).await).await;

    // Who trusts others, or knows no token, gets nowhere: it is this that let the first one in.
    for (root, token, told) in [
        (&stranger, "sesame", r#"faultline_collector_handshakes_failed_total{port="grpc"} "#),
        (&authority, "simsalabim", r#"faultline_collector_requests_total{otlp_signal="metrics",outcome="denied"} "#),
    ] {
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut collector = Process::start(data.path(), &settings, &observed(root, token));
        let probe = collector.probe(data.path()).await;
        eventually("it is turned away", async || {
            let text = String::from_utf8(request(probe, "GET", "/metrics", &[], b"").await.body).expect("it is text");
            text.lines().find_map(|line| line.strip_prefix(told)).is_some_and(|count| count != "0")
        })
        .await;
        assert_eq!(accepted(probe).await, Accepted { others: 0.0, exports: 0.0, points: 0.0 });
    }
}
