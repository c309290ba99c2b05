//! Tables: the same answers hot, cold and in between; ids as text.

use expect_test::{Expect, expect};
use model::Signal;

use crate::fixture::{BATCH, Fixture, NOON, PAYMENT, SECOND, SPAN, Span, request};

/// Asks twice: of the hot log, and of Parquet.
async fn check(sql: &str, expected: Expect) {
    let (hot, cold) = (Fixture::hot().await.rows(sql).await, Fixture::cold().await.rows(sql).await);
    assert_eq!(hot, cold, "hot and cold differ");
    expected.assert_eq(&hot);
}

#[tokio::test]
async fn ids_read_as_hex_at_any_depth() {
    check(
        "SELECT trace_id, span_id, parent_span_id, links[1]['trace_id'] AS linked FROM spans WHERE service = 'jobs'",
        expect![[r#"
            {"trace_id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","span_id":"0000000000000006","parent_span_id":"0000000000000005","linked":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn ids_compare_as_hex_of_either_case() {
    let upper = PAYMENT.to_uppercase();
    check(
        &format!("SELECT count(*) AS n FROM spans WHERE trace_id = '{upper}'"),
        expect![[r#"
        {"n":6}
    "#]],
    )
    .await;
    check(
        &format!("SELECT count(*) AS n FROM spans WHERE trace_id IN ('{upper}', '{BATCH}', 'none')"),
        expect![[r#"
        {"n":8}
    "#]],
    )
    .await;
    check(
        &format!("SELECT count(*) AS n FROM spans WHERE trace_id <> '{PAYMENT}'"),
        expect![[r#"
        {"n":3}
    "#]],
    )
    .await;
    check(
        "SELECT count(*) AS n FROM spans WHERE trace_id = 'not an id'",
        expect![[r#"
        {"n":0}
    "#]],
    )
    .await;
    check(
        "SELECT count(*) AS n FROM spans WHERE trace_id LIKE '0b%' OR parent_span_id IS NULL",
        expect![[r#"
        {"n":4}
    "#]],
    )
    .await;
    check(
        "SELECT count(*) AS n FROM logs WHERE trace_id IS NULL",
        expect![[r#"
        {"n":1}
    "#]],
    )
    .await;
}

#[tokio::test]
async fn ids_join_across_tables() {
    check(
        "SELECT s.service, l.body FROM logs l JOIN spans s ON l.trace_id = s.trace_id AND l.span_id = s.span_id ORDER BY 2",
        expect![[r#"
            {"service":"analytics","body":"counted"}
            {"service":"core","body":"the acquirer said no"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn filters_need_no_projected_column() {
    check(
        "SELECT name FROM spans WHERE duration_ns > 25000000 AND kind = 'Server' AND attributes['payment.id'] = 'p-1'",
        expect![[r#"
            {"name":"POST /v1/payments"}
        "#]],
    )
    .await;
    check(
        "SELECT service FROM spans ORDER BY duration_ns DESC LIMIT 2",
        expect![[r#"
        {"service":"core"}
        {"service":"core"}
    "#]],
    )
    .await;
    check(
        "SELECT count(*) AS n FROM (SELECT * FROM spans LIMIT 3)",
        expect![[r#"
        {"n":3}
    "#]],
    )
    .await;
}

#[tokio::test]
async fn attributes_are_maps_and_times_are_timestamps() {
    check(
        "SELECT attributes, time FROM spans WHERE time > TIMESTAMP '2026-11-22T12:00:00.011' AND service = 'acquirer'",
        expect![[r#"
            {"attributes":{},"time":"2026-11-22T12:00:00.012Z"}
        "#]],
    )
    .await;
    check(
        "SELECT date_trunc('minute', time) AS minute, count(*) AS n FROM spans
         WHERE date_trunc('minute', time) = TIMESTAMP '2026-11-22T12:00:00' GROUP BY 1",
        expect![[r#"
            {"minute":"2026-11-22T12:00:00Z","n":9}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn subqueries_may_stand_in_filters() {
    check(
        "SELECT count(*) AS n FROM spans WHERE duration_ns = (SELECT max(duration_ns) FROM spans)
         AND trace_id IN (SELECT trace_id FROM logs)",
        expect![[r#"
            {"n":1}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_exists_can_be_asked() {
    let fixture = Fixture::empty().await;
    let tables =
        fixture.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1").await;
    expect![[r#"
        {"table_name":"column_docs"}
        {"table_name":"dependencies"}
        {"table_name":"errors"}
        {"table_name":"logs"}
        {"table_name":"metric_exponential_histograms"}
        {"table_name":"metric_histograms"}
        {"table_name":"metric_summaries"}
        {"table_name":"metrics"}
        {"table_name":"service_red"}
        {"table_name":"slow_traces"}
        {"table_name":"spans"}
    "#]]
    .assert_eq(&tables);
    assert!(fixture.rows("SHOW TABLES").await.contains("spans"));
    let described = fixture.rows("DESCRIBE spans").await;
    assert!(described.contains(r#"{"column_name":"trace_id","data_type":"Utf8","is_nullable":"NO"}"#), "{described}");
    let undocumented = "SELECT count(*) FROM column_docs WHERE doc = ''";
    assert_eq!(fixture.number(undocumented).await, 0);
    let shown = "SELECT count(*) FROM information_schema.columns c LEFT ANTI JOIN column_docs d
                 ON c.table_name = d.table_name AND c.column_name = d.column_name
                 WHERE c.table_schema = 'public' AND c.table_name <> 'column_docs'";
    assert_eq!(fixture.number(shown).await, 0, "a column without documentation");
}

#[tokio::test]
async fn an_empty_folder_has_empty_tables() {
    let fixture = Fixture::empty().await;
    for table in
        ["spans", "logs", "metrics", "metric_histograms", "service_red", "dependencies", "slow_traces", "errors"]
    {
        assert_eq!(fixture.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        assert_eq!(fixture.rows(&format!("SELECT * FROM {table}")).await, "", "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_seen_once_while_compaction_runs() {
    let fixture = Fixture::empty().await;
    let mut written = 0;
    for round in 0..10_u8 {
        for id in 1..=20 {
            let span = Span { id, name: "work", start_ms: i64::from(round) * 1_000, ..SPAN };
            fixture.append(Signal::Traces, &request(&[("worker", &[span])])).await;
            written += 1;
            assert_eq!(fixture.number("SELECT count(*) FROM spans").await, written);
        }
        let compacting = fixture.compact();
        let asking = async {
            for _ in 0..10 {
                assert_eq!(fixture.number("SELECT count(*) FROM spans WHERE name = 'work'").await, written);
                assert_eq!(fixture.number("SELECT count(*) FROM spans").await, written);
            }
        };
        tokio::join!(compacting, asking);
    }
    let half = format!("SELECT count(*) FROM spans WHERE time >= to_timestamp_nanos({})", NOON + 5 * SECOND);
    assert_eq!(fixture.number(&half).await, written / 2);
}

#[tokio::test]
async fn a_join_of_a_table_with_itself_sees_one_moment() {
    let fixture = Fixture::hot().await;
    let sql = "SELECT count(*) FROM spans a FULL JOIN spans b ON a.trace_id = b.trace_id AND a.span_id = b.span_id
               WHERE a.span_id IS NULL OR b.span_id IS NULL";
    assert_eq!(fixture.number(sql).await, 0);
}

#[tokio::test]
async fn ids_and_times_prune_files() {
    let fixture = Fixture::cold().await;
    let plan = |sql: String| {
        let fixture = &fixture;
        async move { fixture.rows(&format!("EXPLAIN {sql}")).await }
    };
    let by_id = plan(format!("SELECT * FROM spans WHERE trace_id = '{PAYMENT}'")).await;
    assert!(by_id.contains("trace_id@") && by_id.contains("predicate=trace_id"), "{by_id}");
    assert!(!by_id.contains("FilterExec"), "the filter is inside the scan: {by_id}");
    let later = format!("time > to_timestamp_nanos({})", NOON + 7200 * SECOND);
    for sql in ["spans", "service_red", "dependencies", "slow_traces", "errors"] {
        let plan = plan(format!("SELECT * FROM {sql} WHERE {later}")).await;
        assert!(!plan.contains(".parquet"), "{sql} opens files of another time: {plan}");
    }
    let bucket = plan(format!("SELECT date_bin(INTERVAL '1 minute', time) AS time FROM spans WHERE {later}")).await;
    assert!(!bucket.contains(".parquet"), "{bucket}");
}
