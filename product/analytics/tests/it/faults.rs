//! A fault is real work, and it ends.

use product_analytics::faults;
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, handle, story};

#[tokio::test]
async fn a_slow_query_runs_again_and_again_until_it_is_stopped() {
    let stack = Stack::new().await;
    let server = stack.without_broker().await;
    for event in story() {
        handle(server.database(), &server.handler(), &event).await.unwrap();
    }
    let pool = server.database().readers();
    let stop = CancellationToken::new();
    // Others are still served meanwhile: it holds one connection, as one analyst does.
    let others = async {
        for _ in 0..3 {
            sqlx::query("SELECT 1").execute(pool).await.unwrap();
        }
        stop.cancel();
    };
    let (runs, ()) = tokio::join!(faults::slow_query(pool, stop.clone()), others);
    assert!(runs.unwrap() >= 1);
    assert_eq!(faults::slow_query(pool, stop.clone()).await.unwrap(), 0);
}
