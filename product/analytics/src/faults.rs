//! What an analyst can do to a shared database without meaning any harm.

use sqlx::AnyPool;
use tokio_util::sync::CancellationToken;

/// Payments compared with each other: millions of pairs, so that one run takes a second or so on any
/// machine, and ends soon after `stop`.
const PAYMENTS_MAX: i64 = 3_000;

/// For each payment its rank and share among those of its currency, the way somebody writes it who does not know window
/// functions: every payment is joined with every other. Again and again until `stop`; returns how often.
pub async fn slow_query(pool: &AnyPool, stop: CancellationToken) -> sqlx::Result<u64> {
    let mut runs = 0;
    while !stop.is_cancelled() {
        // Run to its end: a query that is dropped halfway still runs in the database, and its connection is lost.
        let _: (i64, Option<i64>) = sqlx::query_as(
            "SELECT COUNT(*), CAST(SUM(CASE WHEN other.amount_minor > one.amount_minor THEN 1 ELSE 0 END) AS BIGINT)
             FROM (SELECT * FROM payment_facts ORDER BY payment_id DESC LIMIT $1) AS one
             JOIN (SELECT * FROM payment_facts ORDER BY payment_id DESC LIMIT $1) AS other
               ON other.currency = one.currency OR other.user_id = one.user_id",
        )
        .bind(PAYMENTS_MAX)
        .fetch_one(pool)
        .await?;
        runs += 1;
    }
    Ok(runs)
}
