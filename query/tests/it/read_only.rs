//! Nothing but questions, and no way to name a file.

use query::QueryError;

use crate::fixture::Fixture;

#[tokio::test]
async fn whatever_is_no_question_is_refused() {
    let fixture = Fixture::hot().await;
    for sql in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE SCHEMA s",
        "DROP TABLE spans",
        "COPY spans TO '/tmp/spans.csv'",
        "COPY (SELECT 1) TO 'file:///tmp/one.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/one.parquet'",
        "INSERT INTO spans SELECT * FROM spans",
        "DELETE FROM spans",
        "UPDATE spans SET name = ''",
        "SET datafusion.execution.batch_size = 1",
        "SET datafusion.runtime.temp_directory = '/tmp'",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "SELECT 1 AS one INTO t",
    ] {
        let error = fixture.refusal(sql).await;
        assert!(matches!(error, QueryError::ReadOnly(_)), "{sql}: {error:?}");
    }
    assert_eq!(fixture.number("SELECT count(*) FROM spans").await, 9);
}

#[tokio::test]
async fn a_file_has_no_name() {
    let fixture = Fixture::cold().await;
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/tmp/x.parquet'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM \"/etc/hosts.csv\"",
        "SELECT * FROM read_parquet('/tmp/x.parquet')",
        "SELECT * FROM parquet_metadata('/tmp/x.parquet')",
        "SELECT * FROM store.files",
    ] {
        let error = fixture.refusal(sql).await;
        assert!(matches!(error, QueryError::Question(_)), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_question_gets_a_sentence() {
    let fixture = Fixture::empty().await;
    for (sql, part) in [
        ("SELEC 1", "SELEC"),
        ("SELECT nothing FROM spans", "nothing"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1; SELECT 2", "single"),
        ("", "statement"),
        ("SELECT 1 / 0", "zero"),
        ("SELECT CAST('x' AS BIGINT)", "x"),
    ] {
        let error = fixture.refusal(sql).await;
        assert!(matches!(error, QueryError::Question(_)), "{sql}: {error:?}");
        assert!(error.to_string().contains(part), "{sql}: {error}");
    }
}
