//! Facts: one row for each payment, and one for each other thing that a user did.
//!
//! No sums are kept up to date here, on purpose. The monolith answers its reports by aggregating over its own tables;
//! this service answers them with the same SQL over rows of the same shape. Both sides do equal work, and what differs
//! is only where it is done.
//!
//! Every write fills in a row or a moment that was empty, so facts may come in any order: a refund may overtake its
//! capture on a retry topic. Each moment keeps the sequence of its event, by which a report can be asked for as of a
//! watermark.

use futures::StreamExt;
use product_bus::database::{Database, Dialect, span, traced};
use sqlx::AnyConnection;
use sqlx::migrate::Migrator;
use tokio::sync::mpsc;

use crate::event::{Fact, Moment, Payment, What};

/// Lines on their way to a reader; a slow one pauses the query instead of filling memory.
const LINES_UNREAD_MAX: usize = 256;

/// How the tables came to be.
pub fn migrations(dialect: Dialect) -> Migrator {
    let mut migrations = match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/postgres"),
    };
    migrations.dangerous_set_table_name("_analytics_migrations");
    migrations
}

/// Adds `fact` within the caller's transaction; one that is known changes nothing.
pub(crate) async fn add(connection: &mut AnyConnection, fact: &Fact) -> sqlx::Result<()> {
    match &fact.what {
        What::User(kind) => user(connection, fact, kind).await,
        What::Payment(moment, payment) => remember(connection, fact, *moment, payment).await,
    }
}

async fn user(connection: &mut AnyConnection, fact: &Fact, kind: &str) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO user_facts (event_id, user_id, kind, at, sequence) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(fact.event_id.to_string())
    .bind(fact.user_id.to_string())
    .bind(kind)
    .bind(fact.at_ms)
    .bind(fact.sequence);
    let span = span(connection, "INSERT", "user_facts");
    traced(span, query.execute(connection)).await.map(drop)
}

async fn remember(connection: &mut AnyConnection, fact: &Fact, moment: Moment, payment: &Payment) -> sqlx::Result<()> {
    let at = |of: Moment| (moment == of).then_some(fact.at_ms);
    let sequence = |of: Moment| (moment == of).then_some(fact.sequence);
    let query = sqlx::query(
        "INSERT INTO payment_facts
            (payment_id, user_id, amount_minor, currency, created_at, captured_at, captured_sequence,
             declined_at, declined_sequence, refunded_at, refunded_sequence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (payment_id) DO UPDATE SET
            captured_at = COALESCE(payment_facts.captured_at, excluded.captured_at),
            captured_sequence = COALESCE(payment_facts.captured_sequence, excluded.captured_sequence),
            declined_at = COALESCE(payment_facts.declined_at, excluded.declined_at),
            declined_sequence = COALESCE(payment_facts.declined_sequence, excluded.declined_sequence),
            refunded_at = COALESCE(payment_facts.refunded_at, excluded.refunded_at),
            refunded_sequence = COALESCE(payment_facts.refunded_sequence, excluded.refunded_sequence)",
    )
    .bind(payment.payment_id.to_string())
    .bind(fact.user_id.to_string())
    .bind(payment.amount_minor)
    .bind(&payment.currency)
    .bind(payment.created_at.as_millisecond())
    .bind(at(Moment::Captured))
    .bind(sequence(Moment::Captured))
    .bind(at(Moment::Declined))
    .bind(sequence(Moment::Declined))
    .bind(at(Moment::Refunded))
    .bind(sequence(Moment::Refunded));
    let span = span(connection, "INSERT", "payment_facts");
    traced(span, query.execute(connection)).await.map(drop)
}

/// How many events of a sequence above `after` and up to `through` are counted. When that is all there are, nothing of
/// them is on its way.
pub(crate) async fn applied(connection: &mut AnyConnection, after: i64, through: i64) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM user_facts WHERE sequence > $1 AND sequence <= $2)
              + (SELECT COUNT(*) FROM payment_facts WHERE captured_sequence > $1 AND captured_sequence <= $2)
              + (SELECT COUNT(*) FROM payment_facts WHERE declined_sequence > $1 AND declined_sequence <= $2)
              + (SELECT COUNT(*) FROM payment_facts WHERE refunded_sequence > $1 AND refunded_sequence <= $2)",
    )
    .bind(after)
    .bind(through);
    let span = span(connection, "SELECT", "payment_facts");
    traced(span, query.fetch_one(connection)).await
}

/// The evidence that nothing is lost: one JSON line for each event of a payment that is counted.
pub(crate) fn lines(database: &Database) -> mpsc::Receiver<sqlx::Result<String>> {
    let (send, receive) = mpsc::channel(LINES_UNREAD_MAX);
    let pool = database.readers().clone();
    tokio::spawn(async move {
        let mut rows = sqlx::query_as::<_, (String, String)>(
            "SELECT 'payment.captured', payment_id FROM payment_facts WHERE captured_at IS NOT NULL
             UNION ALL SELECT 'payment.declined', payment_id FROM payment_facts WHERE declined_at IS NOT NULL
             UNION ALL SELECT 'payment.refunded', payment_id FROM payment_facts WHERE refunded_at IS NOT NULL",
        )
        .fetch(&pool);
        while let Some(row) = rows.next().await {
            let line = row.map(|(event_type, payment_id)| {
                let line = serde_json::json!({
                    "effect": "projection", "event_type": event_type, "payment_id": payment_id, "count": 1,
                });
                format!("{line}\n")
            });
            if send.send(line).await.is_err() {
                break; // the reader has gone
            }
        }
    });
    receive
}
