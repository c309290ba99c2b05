//! The standing questions, hot and cold.

use expect_test::{Expect, expect};
use model::Signal;

use crate::fixture::{Fixture, NOON, SECOND, SPAN, Span, request};

async fn check(sql: &str, expected: Expect) {
    let (hot, cold) = (Fixture::hot().await.rows(sql).await, Fixture::cold().await.rows(sql).await);
    assert_eq!(hot, cold, "hot and cold differ");
    expected.assert_eq(&hot);
}

#[tokio::test]
async fn service_red_counts_what_is_answered() {
    check("SELECT * FROM service_red ORDER BY service, name", expect![[r#"
        {"time":"2026-11-22T12:00:00Z","service":"acquirer","name":"POST /v1/charges","kind":"Server","requests":1,"errors":0,"error_share":0.0,"p50_ns":30000000,"p95_ns":30000000,"p99_ns":30000000}
        {"time":"2026-11-22T12:00:00Z","service":"analytics","name":"process payments","kind":"Consumer","requests":1,"errors":0,"error_share":0.0,"p50_ns":8000000,"p95_ns":8000000,"p99_ns":8000000}
        {"time":"2026-11-22T12:00:00Z","service":"core","name":"POST /v1/payments","kind":"Server","requests":1,"errors":0,"error_share":0.0,"p50_ns":100000000,"p95_ns":100000000,"p99_ns":100000000}
        {"time":"2026-11-22T12:00:00Z","service":"jobs","name":"process payments","kind":"Consumer","requests":1,"errors":0,"error_share":0.0,"p50_ns":20000000,"p95_ns":20000000,"p99_ns":20000000}
    "#]]).await;
}

#[tokio::test]
async fn dependencies_follow_parents_and_links_and_count_a_message_once() {
    check(
        "SELECT source, target, connection, topic, external, requests, errors, p95_ns, lag_p95_ns FROM dependencies
         ORDER BY source, target, connection",
        expect![[r#"
            {"source":"core","target":"acquirer","connection":"sync","topic":null,"external":false,"requests":1,"errors":1,"p95_ns":30000000,"lag_p95_ns":null}
            {"source":"core","target":"analytics","connection":"message","topic":"payments","external":false,"requests":2,"errors":0,"p95_ns":8000000,"lag_p95_ns":125000000}
            {"source":"core","target":"jobs","connection":"message","topic":"payments","external":false,"requests":1,"errors":0,"p95_ns":20000000,"lag_p95_ns":15000000}
            {"source":"core","target":"sqlite","connection":"sync","topic":null,"external":true,"requests":1,"errors":0,"p95_ns":2000000,"lag_p95_ns":null}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_predicate_on_time_changes_no_edge_inside_it() {
    for fixture in [Fixture::hot().await, Fixture::cold().await] {
        let edges = "SELECT source, target, requests FROM dependencies";
        let all = fixture.rows(&format!("{edges} ORDER BY 1, 2")).await;
        let since = format!("{edges} WHERE time >= to_timestamp_nanos({NOON}) ORDER BY 1, 2");
        assert_eq!(fixture.rows(&since).await, all);
        let until = format!("{edges} WHERE time <= to_timestamp_nanos({NOON}) ORDER BY 1, 2");
        assert_eq!(fixture.rows(&until).await, all, "a bucket holds what happens after its start");
        let after = format!("{edges} WHERE time > to_timestamp_nanos({NOON}) ORDER BY 1, 2");
        assert_eq!(fixture.rows(&after).await, "");
        let one = format!("{edges} WHERE source = 'core' AND target = 'jobs'");
        assert_eq!(fixture.rows(&one).await, "{\"source\":\"core\",\"target\":\"jobs\",\"requests\":1}\n");
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_names_its_peer() {
    let fixture = Fixture::empty().await;
    let call = Span {
        kind: 3,
        // Two years before the rest: whatever answers would be here by now.
        start_ms: -63_072_000_000,
        attributes: &[("server.address", "10.0.0.7"), ("server.port", "443")],
        ..SPAN
    };
    fixture.append(Signal::Traces, &request(&[("shop", &[call])])).await;
    expect![[r#"
        {"source":"shop","target":"10.0.0.7:443","connection":"sync","external":true,"requests":1}
    "#]]
    .assert_eq(&fixture.rows("SELECT source, target, connection, external, requests FROM dependencies").await);
}

#[tokio::test]
async fn a_late_answer_still_belongs_to_its_call() {
    let fixture = Fixture::empty().await;
    let produce = Span { id: 1, name: "send", kind: 4, ..SPAN };
    let consume = Span { id: 2, parent: 1, name: "process", kind: 5, start_ms: 7_200_000, ..SPAN };
    fixture.append(Signal::Traces, &request(&[("a", &[produce]), ("b", &[consume])])).await;
    fixture.compact().await;
    let sql = format!(
        "SELECT requests, lag_p95_ns FROM dependencies WHERE time BETWEEN to_timestamp_nanos({NOON}) AND to_timestamp_nanos({})",
        NOON + 60 * SECOND
    );
    expect![[r#"
        {"requests":1,"lag_p95_ns":7199999000000}
    "#]]
    .assert_eq(&fixture.rows(&sql).await);
}

#[tokio::test]
async fn slow_traces_measure_the_root_and_the_whole() {
    check("SELECT * FROM slow_traces ORDER BY duration_ns DESC, trace_id", expect![[r#"
        {"time":"2026-11-22T12:00:00Z","trace_id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","service":"core","name":"POST /v1/payments","status":"Unset","duration_ns":100000000,"trace_duration_ns":110000000,"spans":6,"services":3,"errors":1}
        {"time":"2026-11-22T12:00:00.200Z","trace_id":"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b","service":"analytics","name":"process payments","status":"Unset","duration_ns":8000000,"trace_duration_ns":8000000,"spans":2,"services":1,"errors":0}
        {"time":"2026-11-22T12:00:00.080Z","trace_id":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","service":"core","name":"send payments","status":"Unset","duration_ns":5000000,"trace_duration_ns":5000000,"spans":1,"services":1,"errors":0}
    "#]]).await;
}

#[tokio::test]
async fn errors_come_from_spans_and_logs() {
    check("SELECT * FROM errors ORDER BY source", expect![[r#"
        {"time":"2026-11-22T12:00:00Z","source":"log","service":"core","name":"tests","error":"the acquirer said no","count":1,"last_time":"2026-11-22T12:00:00.020Z","trace_id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}
        {"time":"2026-11-22T12:00:00Z","source":"span","service":"core","name":"POST","error":"it broke","count":1,"last_time":"2026-11-22T12:00:00.010Z","trace_id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}
    "#]]).await;
}
