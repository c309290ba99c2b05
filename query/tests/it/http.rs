//! `POST /v1/sql` in its formats, and its refusals.

use arrow::ipc::reader::StreamReader;
use expect_test::expect;
use query::Limits;
use serde_json::json;

use crate::fixture::Fixture;

const ARROW: &str = "application/vnd.apache.arrow.stream";
const QUESTION: &str = "SELECT time, span_id, service, duration_ns, status_message, attributes, links FROM spans
     WHERE service IN ('jobs', 'acquirer') ORDER BY time";

#[tokio::test]
async fn json_has_objects_for_maps_and_text_for_ids_and_times() {
    let fixture = Fixture::cold().await;
    let served = fixture.serve(Limits::default()).await;
    let (status, rows) = served.json(QUESTION).await;
    assert_eq!(status, 200);
    assert_eq!(rows[0]["time"], "2026-11-22T12:00:00.012000000Z");
    assert_eq!(rows[0]["links"], json!([]));
    assert_eq!(rows[1]["attributes"], json!({ "messaging.destination.name": "payments" }));
    assert_eq!(rows[1]["span_id"], "0000000000000006");
    assert_eq!(rows[1]["duration_ns"], 20_000_000);
    assert_eq!(rows[1]["links"][0]["span_id"], "0000000000000005");
    let (_, none) = served.json("SELECT * FROM spans WHERE service = 'nobody'").await;
    assert_eq!(none, json!([]));
    let (_, twins) = served.json("SELECT a.value, b.value FROM range(1, 2) a, range(2, 3) b").await;
    assert_eq!(twins, json!([{ "value": 1, "value_2": 2 }]));
    let (_, plain) = served.json("SELECT TIMESTAMP '2026-01-02T03:04:05' AS t, x'00ff' AS b, null AS n").await;
    assert_eq!(plain, json!([{ "t": "2026-01-02T03:04:05.000000000Z", "b": "00ff", "n": null }]));
}

#[tokio::test]
async fn csv_has_a_header_and_json_for_what_is_nested() {
    let fixture = Fixture::hot().await;
    let served = fixture.serve(Limits::default()).await;
    let answer = served.sql("text/csv", QUESTION).await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    expect![[r#"
        time,span_id,service,duration_ns,status_message,attributes,links
        2026-11-22T12:00:00.012000000Z,0000000000000003,acquirer,30000000,,{},[]
        2026-11-22T12:00:00.090000000Z,0000000000000006,jobs,20000000,,"{""messaging.destination.name"":""payments""}","[{""trace_id"":""0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"",""span_id"":""0000000000000005"",""trace_state"":"""",""attributes"":{},""attribute_types"":null,""dropped_attributes_count"":0,""flags"":0}]"
    "#]].assert_eq(&answer.text().await.unwrap());
    let empty = served.sql("text/csv", "SELECT service FROM spans WHERE false").await;
    assert_eq!(empty.text().await.unwrap(), "service\n");
}

#[tokio::test]
async fn arrow_streams_the_same_rows() {
    let fixture = Fixture::cold().await;
    let served = fixture.serve(Limits::default()).await;
    let answer = served.sql(ARROW, "SELECT span_id, service FROM spans").await;
    assert_eq!(answer.headers()["content-type"], ARROW);
    let body = answer.bytes().await.unwrap();
    let rows: usize = StreamReader::try_new(body.as_ref(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 9);
    let large = served.sql(ARROW, "SELECT value, value * 3 AS triple FROM range(0, 500000)").await;
    let body = large.bytes().await.unwrap();
    let rows: usize = StreamReader::try_new(body.as_ref(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 500_000);
}

#[tokio::test]
async fn stored_rows_come_as_they_rest() {
    let fixture = Fixture::cold().await;
    let served = fixture.serve(Limits::default()).await;
    let answer = served.sql(ARROW, "SELECT * FROM stored.spans").await;
    let body = answer.bytes().await.unwrap();
    for batch in StreamReader::try_new(body.as_ref(), None).unwrap() {
        model::Batch::new(model::Table::Spans, batch.unwrap()).unwrap();
    }
}

#[tokio::test]
async fn the_question_may_be_json() {
    let fixture = Fixture::empty().await;
    let served = fixture.serve(Limits::default()).await;
    let ask = |body: &'static str| {
        let request = served
            .http
            .post(format!("{}/v1/sql", served.url))
            .header("content-type", "application/json; charset=utf-8");
        async move { request.body(body).send().await.unwrap() }
    };
    let answer = ask(r#"{"sql": "SELECT 'ü' AS u"}"#).await;
    assert_eq!(answer.text().await.unwrap(), "[\n{\"u\":\"ü\"}\n]\n");
    let bad = ask(r#"{"query": 1}"#).await;
    assert_eq!(bad.status(), 400);
    assert!(bad.text().await.unwrap().contains("the body is not JSON"));
}

#[tokio::test]
async fn refusals_are_sentences_in_json() {
    let fixture = Fixture::hot().await;
    let limits = Limits { query_answer_rows_max: 2_000_000, query_answer_bytes_max: 4096, ..Limits::default() };
    let served = fixture.serve(limits).await;
    for (status, part, sql) in [
        (400, "SELEC", "SELEC"),
        (400, "only questions", "DROP TABLE spans"),
        (400, "COPY is refused; only questions", "COPY spans TO '/tmp/x'"),
        (413, "larger than 4096 bytes", "SELECT * FROM range(0, 100000)"),
    ] {
        let (answered, error) = served.json(sql).await;
        assert_eq!(answered, status, "{sql}: {error}");
        assert!(error["error"].as_str().unwrap().contains(part), "{sql}: {error}");
    }
    assert_eq!(served.sql("image/png", "SELECT 1").await.status(), 406);
    let invalid = served.http.post(format!("{}/v1/sql", served.url)).body(vec![0xff, 0xfe]).send().await.unwrap();
    assert_eq!(invalid.status(), 400);
    let huge = served.http.post(format!("{}/v1/sql", served.url)).body(vec![b' '; 3 << 20]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
    assert!(huge.text().await.unwrap().contains("error"));
    assert_eq!(served.get("/health").await, (200, json!({ "status": "ok" })));
}

#[tokio::test]
async fn a_long_arrow_answer_that_fails_does_not_look_complete() {
    let fixture = Fixture::empty().await;
    let limits = Limits { query_answer_rows_max: 1_000_000, ..Limits::default() };
    let served = fixture.serve(limits).await;
    let answer = served.sql(ARROW, "SELECT value FROM range(0, 1000001)").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "the connection breaks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_loses_its_turn() {
    let fixture = Fixture::empty().await;
    let limits = Limits {
        query_seconds_max: 1,
        query_concurrent_max: 1,
        query_answer_rows_max: usize::MAX,
        query_answer_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let served = fixture.serve(limits).await;
    let unread = served.sql(ARROW, "SELECT value, value * 3 AS triple FROM range(0, 100000000)").await;
    assert_eq!(unread.status(), 200);
    let (status, rows) = served.json("SELECT 1 AS one").await;
    assert_eq!((status, rows), (200, json!([{ "one": 1 }])));
    assert!(unread.bytes().await.is_err(), "the connection breaks");
}

#[tokio::test]
async fn a_taken_port_is_one_sentence() {
    let fixture = Fixture::empty().await;
    let served = fixture.serve(Limits::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let query_listen = served.url.trim_start_matches("http://").parse().unwrap();
    let args = query::Args { data_dir: folder.path().to_owned(), query_listen, limits: Limits::default() };
    let error = query::Server::bind(args).await.unwrap_err().to_string();
    assert!(error.contains("address already in use") && error.contains("--query-listen"), "{error}");
}
