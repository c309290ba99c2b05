//! A search for a trace opens the files that hold it and no others.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::{Signal, Table};
use query::Limits;

use crate::fixture::{Fixture, NOON, SPAN, Span, request};

const HOUR_MS: i64 = 3_600_000;
/// One compaction makes files for no more hours than this.
const HOURS_AT_ONCE: i64 = 50;

fn trace(number: i64) -> &'static str {
    format!("{:032x}", number + 1).leak()
}

/// One trace of so many spans each hour, each hour in a file of its own.
async fn hourly(hours: i64, spans: u8) -> Fixture {
    let fixture = Fixture::empty().await;
    // Of the last year: older rows rest together.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - NOON / 1_000_000;
    for hour in 0..hours {
        let span = |id| Span { trace: trace(hour), id, name: "work", start_ms: now_ms - hour * HOUR_MS, ..SPAN };
        let spans: Vec<Span> = (1..=spans).map(span).collect();
        fixture.append(Signal::Traces, &request(&[("worker", &spans)])).await;
        if hour % HOURS_AT_ONCE == HOURS_AT_ONCE - 1 || hour == hours - 1 {
            fixture.compact().await;
        }
    }
    fixture
}

#[tokio::test]
async fn only_files_that_hold_the_trace_are_opened() {
    let fixture = hourly(20, 5).await;
    let files = fixture.files(Table::Spans).await;
    assert_eq!(files.len(), 20);
    let of_trace = format!("FROM spans WHERE trace_id = '{}'", trace(7));
    let plan = fixture.rows(&format!("EXPLAIN SELECT * {of_trace}")).await;
    let opened: Vec<_> =
        files.iter().filter(|path| plan.contains(path.to_str().unwrap().trim_start_matches('/'))).collect();
    assert_eq!(opened.len(), 1, "{plan}");

    // Whoever opens another one now fails.
    for path in files.iter().filter(|path| *path != opened[0]) {
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::End(-8)).unwrap();
        file.write_all(&[0; 8]).unwrap();
    }
    fixture.refusal("SELECT count(*) FROM spans WHERE name LIKE 'w%'").await;
    assert_eq!(fixture.number(&format!("SELECT count(*) {of_trace} AND name LIKE 'w%'")).await, 5);
    let some =
        format!("SELECT count(*) FROM spans WHERE trace_id IN ('{}', '{}') AND name = 'work'", trace(7), trace(99));
    assert_eq!(fixture.number(&some).await, 5);
    let none = format!("SELECT count(*) FROM spans WHERE trace_id = '{}'", trace(99));
    assert_eq!(fixture.number(&none).await, 0);
}

#[tokio::test]
async fn a_story_is_found_among_many_files() {
    let fixture = hourly(5, 3).await;
    let served = fixture.serve(Limits::default()).await;
    let (status, story) = served.get(&format!("/v1/traces/{}", trace(4))).await;
    assert_eq!((status, story["spans"].as_array().map(Vec::len)), (200, Some(3)), "{story}");
    assert_eq!(served.get(&format!("/v1/traces/{}", trace(5))).await.0, 404);
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -p query -- --ignored --nocapture what_a_search_costs"]
async fn what_a_search_costs_with_the_index_and_without() {
    const HOURS: i64 = 500;
    let mut fixture = hourly(HOURS, 200).await;
    let manifest = fixture.folder().join("telemetry/manifest.json");
    for with in ["with", "without"] {
        if with == "without" {
            let mut named: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
            for file in named["files"].as_array_mut().unwrap() {
                file["trace_index"] = serde_json::Value::Null;
            }
            fs::write(&manifest, named.to_string()).unwrap();
            // Without what the first searches left in memory.
            fixture.reopen().await;
        }
        for attempt in ["first", "second"] {
            let sql = format!("SELECT count(*) FROM spans WHERE trace_id = '{}' AND name = 'work'", trace(HOURS / 2));
            let started = Instant::now();
            assert_eq!(fixture.number(&sql).await, 200);
            println!("{attempt} search {with} the index: {:.1?} over {HOURS} files", started.elapsed());
        }
    }
}
