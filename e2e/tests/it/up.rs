//! `faultline up`: what it promises at its end, and what it leaves behind: nothing.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::{Process, Query};
use serde_json::Value;

use crate::conventions;
use crate::secrets::Secrets;

/// Arguments of a stack whose segments seal all the time, so that compaction never rests.
fn arguments<'a>(folder: &'a str, offset: &'a str, seconds: &'a str) -> Vec<&'a str> {
    vec![
        "up",
        "--no-tui",
        "--for",
        seconds,
        "--load",
        "50",
        "--data-dir",
        folder,
        "--port-offset",
        offset,
        "--segment-age-max-ms",
        "2000",
        // A group that lost its broker twice may take a minute to find together again on a busy machine.
        "--drain-max",
        "150s",
    ]
}

/// The numbers of the report's row that starts with `name`.
fn row(report: &str, name: &str) -> Vec<u64> {
    let line = report.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in:\n{report}"));
    line[name.len()..].split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_accounts_for_every_signal_and_every_effect() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let folder = tempfile::tempdir()?;
    let (path, offset) = (folder.path().display().to_string(), e2e::free_port_offset());
    let offset_text = offset.to_string();
    let (operator_token, webhook_secret) = ("an-operator-token-of-this-run", "a-webhook-secret-of-this-run");
    let settings = ["--operator-token", operator_token, "--webhook-secret", webhook_secret];
    let up = Process::start(arguments(&path, &offset_text, "60s").into_iter().chain(settings));
    acknowledged_payments(folder.path(), 1).await?;

    let database_password = "a-database-password";
    let mut secrets = Secrets::new(&[
        ("the operators' token", operator_token),
        ("the webhooks' secret", webhook_secret),
        ("a database's password", database_password),
    ]);
    let collector = |port: u16| format!("http://127.0.0.1:{}", port + offset);
    secrets.use_all(&format!("http://127.0.0.1:{}", 7001 + offset)).await?;
    secrets.plant(&collector(4318)).await?;
    let refused = tokio::task::spawn_blocking({
        let endpoint = collector(4317);
        move || core_without_a_database(&endpoint, database_password)
    });
    let (output, refusal) = (tokio::task::spawn_blocking(move || up.output()).await?, refused.await?);
    assert!(refusal.contains("could not open postgres://ada:") && !refusal.contains(database_password), "{refusal}");

    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    for signal in ["spans", "logs", "metric points"] {
        let counts = row(&report, signal);
        assert!(counts[0] > 100, "{signal} were made: {report}");
        assert_eq!(counts, [counts[0], 0, counts[0], counts[0], counts[0]], "{report}");
    }
    for effect in ["receipt", "webhook", "projection"] {
        let counts = row(&report, &format!("{effect} of captured"));
        assert!(counts[0] > 50, "payments were made: {report}");
        assert_eq!(counts[1], 0, "{report}");
        assert_eq!(counts[3], 0, "{report}");
    }

    let _query = Process::start_quiet(["query", "--data-dir", &path, "--port-offset", &offset_text]);
    let query = Query::at(7317 + offset);
    e2e::wait_for("the query node to answer", || async { query.number("SELECT count(*) FROM spans").await.ok() })
        .await?;
    let (ours, planted) = ("service <> 'planted'", "service = 'planted'");
    assert_eq!(conventions::departures(&query, ours).await?, [""; 0]);
    // What it finds where everything was told shows that it would find it here.
    assert_eq!(secrets.told(&query, planted).await?, secrets.all());
    assert_eq!(secrets.told(&query, ours).await?, BTreeSet::new());
    assert_eq!(secrets.printed(&folder.path().join("run/logs"))?, BTreeSet::new());
    every_exemplar_leads_to_its_span(&query).await
}

/// What a core says that cannot open its database, and tells the collector.
fn core_without_a_database(collector: &str, password: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    // Port 9 (discard) of this machine: nobody listens.
    let database = format!("postgres://ada:{password}@127.0.0.1:9/core");
    let output = Process::start([
        "product",
        "core",
        "--data-dir",
        &folder.path().display().to_string(),
        "--core-listen",
        "127.0.0.1:0",
        "--core-database-url",
        &database,
        "--otlp-endpoint",
        collector,
    ])
    .output();
    assert!(!output.status.success(), "there is no such database");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A bucket of a latency histogram names a span that took that long, and the span is in the store.
async fn every_exemplar_leads_to_its_span(query: &Query) -> anyhow::Result<()> {
    let sql = "WITH points AS (SELECT name, unnest(exemplars) AS exemplar FROM metric_histograms) \
               SELECT points.name AS name, count(*) AS exemplars, count(spans.span_id) AS stored, \
               count(*) FILTER (WHERE exemplar['value_double'] > 0) AS positive \
               FROM points LEFT JOIN spans \
               ON spans.trace_id = exemplar['trace_id'] AND spans.span_id = exemplar['span_id'] \
               GROUP BY 1 ORDER BY 1";
    let metrics = query.sql(sql).await?;
    let names: Vec<_> = metrics.iter().filter_map(|metric| metric["name"].as_str()).collect();
    let expected = [
        "db.client.operation.duration",
        "faultline.query.duration",
        "http.client.request.duration",
        "http.server.request.duration",
        "messaging.client.operation.duration",
        "messaging.process.duration",
    ];
    assert_eq!(names, expected, "{metrics:?}");
    for metric in &metrics {
        assert_eq!((&metric["stored"], &metric["positive"]), (&metric["exemplars"], &metric["exemplars"]), "{metric}");
    }
    let sql = "SELECT count(*) FROM metric_histograms WHERE cardinality(exemplars) > cardinality(bucket_counts)";
    assert_eq!(query.number(sql).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_one_story_across_services_with_its_logs() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let folder = tempfile::tempdir()?;
    let (folder, offset) = (folder.path().display().to_string(), e2e::free_port_offset());
    let offset_text = offset.to_string();
    let up = Process::start(arguments(&folder, &offset_text, "10m"));
    let query = Query::at(7317 + offset);
    let services = ["acquirer", "analytics", "core", "jobs", "receiver"];
    let sql = "SELECT trace_id FROM spans WHERE service = 'core' AND name = 'POST /v1/payments' ORDER BY time LIMIT 20";
    let story = e2e::wait_for("a payment's whole trace", || async {
        for row in query.sql(sql).await.ok()? {
            let trace = query.get(&format!("/v1/traces/{}", row["trace_id"].as_str()?)).await.ok()?;
            let text = trace["spans"].to_string();
            if services.iter().all(|service| text.contains(&format!("\"{service}\""))) {
                return Some(trace);
            }
        }
        None
    })
    .await?;
    assert!(story["logs"].as_array().is_some_and(|logs| !logs.is_empty()), "a story has logs: {story}");

    let edges = e2e::wait_for("edges of both kinds", || async {
        let edges = query.sql("SELECT DISTINCT source, target, connection FROM dependencies").await.ok()?;
        let has = |source: &str, target: &str, connection: &str| {
            edges.iter().any(|edge: &Value| {
                edge["source"] == source && edge["target"] == target && edge["connection"] == connection
            })
        };
        (has("core", "acquirer", "sync") && has("core", "jobs", "message") && has("core", "analytics", "message"))
            .then(|| edges.clone())
    })
    .await?;
    assert!(!edges.is_empty());

    // Killed without a chance to say goodbye, it still takes every part with it.
    let parts = e2e::children(up.pid());
    assert_eq!(parts.len(), 9, "{parts:?}");
    up.kill();
    e2e::wait_for("every part to end", || async { parts.iter().all(|(pid, _)| !e2e::is_alive(*pid)).then_some(()) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgets_and_a_restart_lose_no_event_and_double_no_effect() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let folder = tempfile::tempdir()?;
    let (path, offset) = (folder.path().display().to_string(), e2e::free_port_offset());
    let offset_text = offset.to_string();
    let up = Process::start(arguments(&path, &offset_text, "10m"));
    acknowledged_payments(folder.path(), 20).await?;
    for more in [40, 60] {
        let (broker, _) = e2e::children(up.pid())
            .into_iter()
            .find(|(_, line)| line.contains("product broker"))
            .expect("up runs a broker");
        e2e::send_signal(broker, libc::SIGKILL);
        acknowledged_payments(folder.path(), more).await?;
    }
    up.signal(libc::SIGINT);
    let first = String::from_utf8_lossy(&up.output().stdout).into_owned();
    check_effects(&first, 60);

    let second = Process::start(arguments(&path, &offset_text, "5s")).output();
    assert!(
        second.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&second.stdout),
        String::from_utf8_lossy(&second.stderr)
    );
    check_effects(&String::from_utf8_lossy(&second.stdout), 60);
    Ok(())
}

/// The load's ledger says so.
async fn acknowledged_payments(folder: &Path, count: usize) -> anyhow::Result<()> {
    let ledger = folder.join("product/ledger.jsonl");
    e2e::wait_for("payments", || async {
        let text = tokio::fs::read_to_string(&ledger).await.ok()?;
        (text.matches("payment.captured").count() >= count).then_some(())
    })
    .await
}

fn check_effects(report: &str, at_least: u64) {
    for effect in ["receipt", "webhook", "projection"] {
        let counts = row(report, &format!("{effect} of captured"));
        let (acknowledged, lost, doubled) = (counts[0], counts[1], counts[3]);
        assert!(acknowledged >= at_least && lost == 0 && doubled == 0, "{report}");
    }
}

#[test]
fn a_taken_port_is_one_clear_sentence() {
    let _turn = e2e::Turn::take();
    let offset = e2e::free_port_offset();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 7001 + offset)).expect("it was free");
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, offset) = (folder.path().display().to_string(), offset.to_string());
    let output = Process::start(arguments(&folder, &offset, "5s")).output();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains(&taken.local_addr().expect("bound").to_string()), "{errors}");
    assert!(errors.contains("--core-listen") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn an_interrupt_stops_everything_in_order_and_leaves_nothing_running() {
    let _turn = e2e::Turn::take();
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, offset) = (folder.path().display().to_string(), e2e::free_port_offset());
    let offset_text = offset.to_string();
    let mut up = Process::start(arguments(&folder, &offset_text, "10m"));
    let deadline = std::time::Instant::now() + e2e::PATIENCE;
    while e2e::children(up.pid()).len() < 9 {
        assert!(up.is_running() && std::time::Instant::now() < deadline, "the stack did not start");
        std::thread::yield_now();
    }
    let parts = e2e::children(up.pid());
    up.signal(libc::SIGINT);
    let output = up.output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(parts.iter().all(|(pid, _)| !e2e::is_alive(*pid)), "{parts:?}");
}
