//! `kill -9` of the collector, again and again, while clients send: what was acknowledged is there once, what was not is there
//! whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

const KILLS: u64 = 20;
const CLIENTS: u64 = 4;
const SPANS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_spans_survive_twenty_kills_and_appear_once() -> anyhow::Result<()> {
    let _turn = e2e::Turn::take();
    let folder = tempfile::tempdir()?;
    let offset = e2e::free_port_offset();
    let sent = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(offset, sent.clone(), stop.clone()))).collect();

    for kill in 0..KILLS {
        let collector = collector(folder.path(), offset);
        let before = sent.load(Ordering::Relaxed);
        // From a handful of requests to some hundred: early kills hit recovery, late ones sealing and compaction.
        let enough = before + 4 + kill * 15;
        e2e::wait_for("requests to be acknowledged", || async {
            (sent.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await?;
        collector.kill();
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await?);
    }
    // One more life recovers the folder as the next start of a user would.
    let collector = collector(folder.path(), offset);
    e2e::wait_for("the collector to recover", || async { post(offset, "last").await.ok() }).await?;
    collector.kill();

    let stored = stored(folder.path(), offset).await?;
    for request in &acknowledged {
        assert_eq!(stored.get(request), Some(&(SPANS as i64, SPANS as i64)), "acknowledged request {request}");
    }
    for (request, counts) in &stored {
        assert_eq!(*counts, (SPANS as i64, SPANS as i64), "request {request} is there in part or twice");
    }
    assert!(acknowledged.len() as u64 > KILLS * 4, "the test sent too little: {}", acknowledged.len());
    Ok(())
}

fn collector(folder: &std::path::Path, offset: u16) -> e2e::Process {
    let (folder, offset) = (folder.display().to_string(), offset.to_string());
    e2e::Process::start_quiet([
        "collector",
        "--data-dir",
        &folder,
        "--port-offset",
        &offset,
        "--segment-age-max-ms",
        "50",
        "--replaced-age-min-ms",
        "200",
    ])
}

/// Sends one request after the other and remembers which were acknowledged. A request without an answer is never repeated.
async fn client(offset: u16, sent: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = sent.load(Ordering::Relaxed);
        let request = format!("{number}-{:016x}", fastrand());
        match post(offset, &request).await {
            Ok(()) => {
                acknowledged.push(request);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            // The collector is down: try the next one a little later.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    acknowledged
}

async fn post(offset: u16, request: &str) -> anyhow::Result<()> {
    let spans: Vec<_> = (0..SPANS)
        .map(|_| {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
            json!({
                "traceId": format!("{:016x}{:016x}", fastrand(), fastrand()),
                "spanId": format!("{:016x}", fastrand()),
                "name": "work",
                "kind": 2,
                "startTimeUnixNano": now.to_string(),
                "endTimeUnixNano": (now + 1_000_000).to_string(),
                "attributes": [{"key": "request", "value": {"stringValue": request}}],
            })
        })
        .collect();
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "crash"}}]},
        "scopeSpans": [{"spans": spans}],
    }]});
    let url = format!("http://127.0.0.1:{}/v1/traces", 4318 + offset);
    reqwest::Client::new().post(url).json(&body).send().await?.error_for_status()?;
    Ok(())
}

/// Random enough to be distinct, never zero.
fn fastrand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() | 1
}

/// Rows and distinct spans by request.
async fn stored(folder: &std::path::Path, offset: u16) -> anyhow::Result<HashMap<String, (i64, i64)>> {
    let (folder, offset_text) = (folder.display().to_string(), offset.to_string());
    let _query = e2e::Process::start_quiet(["query", "--data-dir", &folder, "--port-offset", &offset_text]);
    let query = e2e::Query::at(7317 + offset);
    let sql = "SELECT attributes['request'] AS request, count(*) AS stored, count(DISTINCT span_id) AS distinct_spans \
               FROM spans WHERE service = 'crash' GROUP BY 1";
    let rows = e2e::wait_for("the query node to answer", || async { query.sql(sql).await.ok() }).await?;
    let number = |row: &Value, name: &str| row[name].as_i64().unwrap_or(-1);
    let request = |row: &Value| row["request"].as_str().unwrap_or("").to_owned();
    Ok(rows.iter().map(|row| (request(row), (number(row, "stored"), number(row, "distinct_spans")))).collect())
}
