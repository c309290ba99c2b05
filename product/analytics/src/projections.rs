//! The projections and how a fact changes them.
//!
//! Every change is a sum or the first value of a column, so facts give the same result in any order: a refund
//! may overtake its capture on a retry topic. That a fact is applied once is the inbox's part.

use observe::db;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tracing::Instrument;
use uuid::Uuid;

use crate::event::{Fact, Payment, What};

/// `day` is that of UTC as YYYY-MM-DD, sums are in minor units of `currency`.
const SCHEMA: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS revenue_by_day (
        day            TEXT NOT NULL,
        currency       TEXT NOT NULL,
        captured_minor INTEGER NOT NULL DEFAULT 0,
        refunded_minor INTEGER NOT NULL DEFAULT 0,
        payments       INTEGER NOT NULL DEFAULT 0, -- captured on that day
        PRIMARY KEY (day, currency)
    ) WITHOUT ROWID, STRICT",
    "CREATE TABLE IF NOT EXISTS activity_by_day (
        day             TEXT PRIMARY KEY,
        registrations   INTEGER NOT NULL DEFAULT 0,
        logins          INTEGER NOT NULL DEFAULT 0,
        profile_updates INTEGER NOT NULL DEFAULT 0,
        declines        INTEGER NOT NULL DEFAULT 0,
        active_users    INTEGER NOT NULL DEFAULT 0  -- rows of active_users
    ) WITHOUT ROWID, STRICT",
    "CREATE TABLE IF NOT EXISTS active_users (
        day     TEXT NOT NULL,
        user_id TEXT NOT NULL,
        PRIMARY KEY (day, user_id)
    ) WITHOUT ROWID, STRICT",
    "CREATE TABLE IF NOT EXISTS payment_facts (
        payment_id   TEXT PRIMARY KEY,
        user_id      TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency     TEXT NOT NULL,
        created_at   TEXT NOT NULL,
        captured_at  TEXT, -- null when it did not happen, or not yet
        declined_at  TEXT,
        refunded_at  TEXT
    ) WITHOUT ROWID, STRICT",
    // How often each event of a payment was applied: the evidence that none is lost or counted twice.
    "CREATE TABLE IF NOT EXISTS applied (
        payment_id TEXT NOT NULL,
        event_type TEXT NOT NULL,
        times      INTEGER NOT NULL,
        PRIMARY KEY (payment_id, event_type)
    ) WITHOUT ROWID, STRICT",
];

pub(crate) async fn migrate(pool: &SqlitePool) -> sqlx::Result<()> {
    for table in SCHEMA {
        sqlx::query(table).execute(pool).await?;
    }
    Ok(())
}

/// Changes every projection that `fact` touches, within the caller's transaction.
pub(crate) async fn apply(connection: &mut SqliteConnection, kind: &str, fact: &Fact) -> sqlx::Result<()> {
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
async fn meet(connection: &mut SqliteConnection, day: &str, user: Uuid) -> sqlx::Result<bool> {
    let query = sqlx::query("INSERT INTO active_users (day, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(day)
        .bind(user.to_string());
    Ok(execute(connection, "INSERT", "active_users", query).await? == 1)
}

async fn add(connection: &mut SqliteConnection, day: &str, more: &Activity) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO activity_by_day (day, registrations, logins, profile_updates, declines, active_users)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET
            registrations = registrations + excluded.registrations,
            logins = logins + excluded.logins,
            profile_updates = profile_updates + excluded.profile_updates,
            declines = declines + excluded.declines,
            active_users = active_users + excluded.active_users",
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
    connection: &mut SqliteConnection,
    day: &str,
    payment: &Payment,
    captured_minor: i64,
    refunded_minor: i64,
    payments: i64,
) -> sqlx::Result<()> {
    let query = sqlx::query(
        "INSERT INTO revenue_by_day (day, currency, captured_minor, refunded_minor, payments) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET
            captured_minor = captured_minor + excluded.captured_minor,
            refunded_minor = refunded_minor + excluded.refunded_minor,
            payments = payments + excluded.payments",
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
    connection: &mut SqliteConnection,
    kind: &str,
    fact: &Fact,
    payment: &Payment,
    moment: Moment,
) -> sqlx::Result<()> {
    let at = |of: Moment| (moment == of).then(|| fact.at.to_string());
    let query = sqlx::query(
        "INSERT INTO payment_facts
            (payment_id, user_id, amount_minor, currency, created_at, captured_at, declined_at, refunded_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET
            captured_at = COALESCE(captured_at, excluded.captured_at),
            declined_at = COALESCE(declined_at, excluded.declined_at),
            refunded_at = COALESCE(refunded_at, excluded.refunded_at)",
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
        "INSERT INTO applied (payment_id, event_type, times) VALUES (?, ?, 1)
         ON CONFLICT DO UPDATE SET times = times + 1",
    )
    .bind(payment.payment_id.to_string())
    .bind(kind);
    execute(connection, "INSERT", "applied", query).await.map(drop)
}

/// Runs one statement in a span of its own and says how many rows it touched.
async fn execute(
    connection: &mut SqliteConnection,
    operation: &str,
    table: &str,
    query: sqlx::query::Query<'_, Sqlite, SqliteArguments>,
) -> sqlx::Result<u64> {
    let done = query.execute(connection).instrument(db::span(db::SQLITE, operation, table)).await?;
    Ok(done.rows_affected())
}
