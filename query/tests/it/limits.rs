//! What one question may cost.

use query::{Limits, QueryError};

use crate::fixture::Fixture;

#[tokio::test]
async fn an_answer_is_whole_or_an_error() {
    let limits = Limits { query_answer_rows_max: 10, ..Limits::default() };
    let fixture = Fixture::with_limits(limits).await;
    assert_eq!(fixture.rows("SELECT * FROM range(0, 10)").await.lines().count(), 10);
    let error = fixture.refusal("SELECT * FROM range(0, 11)").await;
    assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
    assert!(error.to_string().contains("more than 10 rows"), "{error}");
}

#[tokio::test]
async fn too_much_memory_is_a_sentence() {
    let limits = Limits { query_memory_bytes_max: 1 << 20, query_spill_bytes_max: 0, ..Limits::default() };
    let fixture = Fixture::with_limits(limits).await;
    let error = fixture.refusal("SELECT count(DISTINCT value) FROM range(0, 3000000)").await;
    assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
    assert!(error.to_string().contains("--query-memory-bytes-max"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_time_is_a_sentence() {
    let limits = Limits { query_seconds_max: 1, ..Limits::default() };
    let fixture = Fixture::with_limits(limits).await;
    let endless = "SELECT count(*) FROM range(0, 1000000000000) WHERE value % 7 = 8";
    assert!(matches!(fixture.refusal(endless).await, QueryError::Slow { seconds: 1 }));
}
