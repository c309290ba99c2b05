//! Frequent attributes are columns inside a file, and nobody who asks can tell but by the time it takes.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::Signal;

use crate::fixture::{Fixture, NOON, SPAN, Span, request};

const HOUR_MS: i64 = 3_600_000;

/// Spans of three hours. Their files have columns for different attributes: `user.id` repeats in the first hour only, `tenant`
/// is unknown in the second.
async fn differing() -> Fixture {
    let fixture = Fixture::empty().await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - NOON / 1_000_000;
    for hour in 0..3_u8 {
        let span = |id: u8| {
            let user = if hour == 0 { format!("u-{}", id % 2) } else { format!("u-{id}-{}", "x".repeat(100)) };
            let status = if id == 7 { "500" } else { "200" };
            let mut attributes: Vec<(&'static str, &'static str)> = vec![("user.id", user.leak()), ("status", status)];
            attributes.extend((hour != 1).then_some(("tenant", if id.is_multiple_of(3) { "a" } else { "b" })));
            let start_ms = now_ms - i64::from(hour) * HOUR_MS;
            Span { id: id + 1, name: "work", start_ms, attributes: attributes.leak(), ..SPAN }
        };
        let spans: Vec<Span> = (0..100).map(span).collect();
        fixture.append(Signal::Traces, &request(&[("worker", &spans)])).await;
        if hour < 2 {
            fixture.compact().await;
        }
    }
    fixture
}

/// The same while a part of the rows is hot and when all of them are in files.
async fn check(question: &str, expected: &[&str]) {
    let fixture = differing().await;
    for moment in ["a part of it hot", "cold"] {
        if moment == "cold" {
            fixture.compact().await;
        }
        let rows = fixture.rows(question).await;
        assert_eq!(rows.lines().collect::<Vec<_>>(), expected, "{question}, {moment}");
    }
}

#[tokio::test]
async fn filters_find_the_same_rows() {
    let count = |filter: &str| format!("SELECT count(*) AS n FROM spans WHERE {filter}");
    for (filter, n) in [
        ("attributes['status'] = '500'", 3),
        ("attributes['status'] <> '500'", 297),
        ("attributes['status'] IN ('500', '404')", 3),
        ("attributes['status'] LIKE '5%'", 3),
        ("attributes['tenant'] = 'a'", 68),
        ("attributes['tenant'] IS NULL", 100),
        ("attributes['user.id'] = 'u-1'", 50),
        ("attributes['user.id'] = 'u-1' AND attributes['tenant'] = 'a'", 17),
        ("attributes['user.id'] = 'u-1' OR attributes['tenant'] = 'a'", 101),
        ("attributes['user.id'] = attributes['tenant']", 0),
        ("attributes['nowhere'] = 'x'", 0),
        ("attributes['nowhere'] IS NULL AND attributes['status'] = '500'", 3),
        ("resource['service.name'] = 'worker' AND attributes['status'] = '500'", 3),
    ] {
        check(&count(filter), &[&format!(r#"{{"n":{n}}}"#)]).await;
    }
}

#[tokio::test]
async fn groups_and_answers_have_the_same_values() {
    check(
        "SELECT attributes['tenant'] AS tenant, count(*) AS n FROM spans GROUP BY 1 ORDER BY 1",
        &[r#"{"tenant":"a","n":68}"#, r#"{"tenant":"b","n":132}"#, r#"{"tenant":null,"n":100}"#],
    )
    .await;
    check(
        "SELECT attributes['tenant'] AS tenant, attributes['status'] AS status, span_id, attributes FROM spans
         WHERE attributes['user.id'] = 'u-1' AND attributes['status'] = '500'",
        &[r#"{"tenant":"b","status":"500","span_id":"0000000000000008","attributes":{"user.id":"u-1","status":"500","tenant":"b"}}"#],
    )
    .await;
    check(
        "SELECT attributes['status'] AS status FROM spans ORDER BY attributes['status'] DESC LIMIT 4",
        &[r#"{"status":"500"}"#, r#"{"status":"500"}"#, r#"{"status":"500"}"#, r#"{"status":"200"}"#],
    )
    .await;
    check(
        "SELECT count(*) AS n FROM spans a JOIN spans b ON a.attributes['status'] = b.attributes['status']
         WHERE a.attributes['tenant'] = 'b' AND b.attributes['tenant'] IS NULL AND b.attributes['status'] = '500'",
        &[r#"{"n":2}"#],
    )
    .await;
    check(
        "SELECT max(attributes['user.id']) AS last FROM spans WHERE attributes['tenant'] = 'a' AND attributes['user.id'] < 'u-10'",
        &[r#"{"last":"u-1"}"#],
    )
    .await;
}

#[tokio::test]
async fn a_column_is_read_instead_of_the_map_where_there_is_one() {
    let fixture = differing().await;
    fixture.compact().await;
    let explain = async |sql: &str| fixture.rows(&format!("EXPLAIN {sql}")).await;
    let by_status = explain("SELECT name FROM spans WHERE attributes['status'] = '500'").await;
    assert!(by_status.contains("predicate=attributes['status']@") && !by_status.contains("FilterExec"), "{by_status}");
    assert!(by_status.contains("attributes['status']_min"), "statistics leave out what cannot match: {by_status}");
    // Two of the three files have a column for it.
    let by_tenant = explain("SELECT name FROM spans WHERE attributes['tenant'] = 'a'").await;
    assert_eq!(
        (by_tenant.matches("file_type=parquet").count(), by_tenant.matches("FilterExec").count()),
        (2, 1),
        "{by_tenant}"
    );
    let groups = explain("SELECT attributes['status'], count(*) FROM spans GROUP BY 1").await;
    assert!(groups.contains("projection=[get_field(attributes"), "the scan itself reads the attribute: {groups}");
    let analyzed = fixture.rows("EXPLAIN ANALYZE SELECT name FROM spans WHERE attributes['status'] = '999'").await;
    assert!(analyzed.contains("row_groups_pruned_statistics=3 total → 0 matched"), "{analyzed}");
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -p query -- --ignored --nocapture what_an_attribute_costs"]
async fn what_an_attribute_costs_as_a_column_and_in_the_map() {
    const REQUESTS: i64 = 100;
    let mut fixture = Fixture::empty().await;
    for number in 0..REQUESTS {
        let span = |id: u8| {
            let attributes: Vec<(&'static str, &'static str)> = (0..10_u8)
                .map(|key| (&*format!("key.{key}").leak(), &*format!("value {}", id % 50 + key).leak()))
                .collect();
            Span { id: id + 1, name: "work", start_ms: number, attributes: attributes.leak(), ..SPAN }
        };
        let spans: Vec<Span> = (0..200).map(span).collect();
        fixture.append(Signal::Traces, &request(&[("worker", &spans)])).await;
    }
    fixture.compact().await;
    let manifest = fixture.folder().join("telemetry/manifest.json");
    for with in ["as a column", "in the map"] {
        if with == "in the map" {
            let mut named: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
            for file in named["files"].as_array_mut().unwrap() {
                file["promotion"] = serde_json::Value::Null;
            }
            std::fs::write(&manifest, named.to_string()).unwrap();
            fixture.reopen().await;
        }
        let sql = "SELECT count(*) FROM spans WHERE attributes['key.9'] = 'value 10'";
        for attempt in ["first", "second"] {
            let started = Instant::now();
            assert_eq!(fixture.number(sql).await, 4 * REQUESTS);
            println!("{attempt} count, the attribute {with}: {:.1?} for {} spans", started.elapsed(), REQUESTS * 200);
        }
    }
}
