//! The projections and how a fact changes them.
//!
//! Every change is a sum or the first value of a column, so facts give the same result in any order: a refund
//! may overtake its capture on a retry topic. That a fact is applied once is the inbox's part.

use product_bus::database::{span, traced};
use sqlx::any::AnyArguments;
use sqlx::{Any, AnyConnection};
use uuid::Uuid;

use crate::event::{Fact, Payment, What};

/// Changes every projection that `fact` touches, within the caller's transaction.
pub(crate) async fn apply(connection: &mut AnyConnection, kind: &str, fact: &Fact) -> sqlx::Result<()> {
    let day = fact.day();
    let first_today = meet(connection, &day, fact.user_id).await?;
    let mut activity = Activity { active_users: i64::from(first_today), ..Activity::default() };
    match &fact.what {
        What::Registered => activity.registrations = 1,
        What::LoggedIn => activity.logins = 1,
        What::ProfileUpdated => activity.profile_updates = 1,
        What::Captured(payment) => {
            revenue(connection, &day, payment, payment.amount_minor, 0, 1).await?;
            remember(connection, kind, fact, payment, Moment::Captured).await?;
        }
        What::Declined(payment) => {
            activity.declines = 1;
            remember(connection, kind, fact, payment, Moment::Declined).await?;
        }
        What::Refunded(payment) => {
            revenue(connection, &day, payment, 0, payment.amount_minor, 0).await?;
            remember(connection, kind, fact, payment, Moment::Refunded).await?;
        }
    }
    add(connection, &day, &activity).await
}

/// What one fact adds to its day.
#[derive(Default)]
struct Activity {
    registrations: i64,
    logins: i64,
    profile_updates: i64,
    declines: i64,
    active_users: i64,
}

/// Which column of `payment_facts` an event fills.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Captured,
    Declined,
    Refunded,
}

/// True when the user was not seen on that day before.
async fn meet(connection: &mut AnyConnection, day: &str, user: Uuid) -> sqlx::Result<bool> {
    let query = sqlx::query("INSERT INTO active_users (day, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(day)
        .bind(user.to_string());
    Ok(execute(connection, "INSERT", "active_users", query).await? == 1)
}

async fn add(connection: &mut AnyConnection, day: &str, more: &Activity) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO activity_by_day (day, registrations, logins, profile_updates, declines, active_users)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (day) DO UPDATE SET
            registrations = activity_by_day.registrations + excluded.registrations,
            logins = activity_by_day.logins + excluded.logins,
            profile_updates = activity_by_day.profile_updates + excluded.profile_updates,
            declines = activity_by_day.declines + excluded.declines,
            active_users = activity_by_day.active_users + excluded.active_users",
    )
    .bind(day)
    .bind(more.registrations)
    .bind(more.logins)
    .bind(more.profile_updates)
    .bind(more.declines)
    .bind(more.active_users);
    execute(connection, "INSERT", "activity_by_day", query).await.map(drop)
}

async fn revenue(
    connection: &mut AnyConnection,
    day: &str,
    payment: &Payment,
    captured_minor: i64,
    refunded_minor: i64,
    payments: i64,
) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO revenue_by_day (day, currency, captured_minor, refunded_minor, payments) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (day, currency) DO UPDATE SET
            captured_minor = revenue_by_day.captured_minor + excluded.captured_minor,
            refunded_minor = revenue_by_day.refunded_minor + excluded.refunded_minor,
            payments = revenue_by_day.payments + excluded.payments",
    )
    .bind(day)
    .bind(&payment.currency)
    .bind(captured_minor)
    .bind(refunded_minor)
    .bind(payments);
    execute(connection, "INSERT", "revenue_by_day", query).await.map(drop)
}

/// Fills in the payment's row and counts the event as applied.
async fn remember(
    connection: &mut AnyConnection,
    kind: &str,
    fact: &Fact,
    payment: &Payment,
    moment: Moment,
) -> sqlx::Result<()> {
    let at = |of: Moment| (moment == of).then(|| fact.at.to_string());
    let query = sqlx::query(
        "INSERT INTO payment_facts
            (payment_id, user_id, amount_minor, currency, created_at, captured_at, declined_at, refunded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (payment_id) DO UPDATE SET
            captured_at = COALESCE(payment_facts.captured_at, excluded.captured_at),
            declined_at = COALESCE(payment_facts.declined_at, excluded.declined_at),
            refunded_at = COALESCE(payment_facts.refunded_at, excluded.refunded_at)",
    )
    .bind(payment.payment_id.to_string())
    .bind(fact.user_id.to_string())
    .bind(payment.amount_minor)
    .bind(&payment.currency)
    .bind(payment.created_at.to_string())
    .bind(at(Moment::Captured))
    .bind(at(Moment::Declined))
    .bind(at(Moment::Refunded));
    execute(connection, "INSERT", "payment_facts", query).await?;

    let query = sqlx::query(
        "INSERT INTO applied (payment_id, event_type, times) VALUES ($1, $2, 1)
         ON CONFLICT (payment_id, event_type) DO UPDATE SET times = applied.times + 1",
    )
    .bind(payment.payment_id.to_string())
    .bind(kind);
    execute(connection, "INSERT", "applied", query).await.map(drop)
}

/// Runs one statement in a span of its own and says how many rows it touched.
async fn execute(
    connection: &mut AnyConnection,
    operation: &str,
    table: &str,
    query: sqlx::query::Query<'_, Any, AnyArguments>,
) -> sqlx::Result<u64> {
    let done = traced(span(connection, operation, table), query.execute(connection)).await?;
    Ok(done.rows_affected())
}
