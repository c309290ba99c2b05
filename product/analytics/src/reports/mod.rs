//! The questions that the business asks, as SQL over facts.
//!
//! The same text runs in two places: over this service's tables, and in core over views of the same names and columns
//! on its own tables. It runs on SQLite and on PostgreSQL. So two answers differ only when the facts do.
//!
//! `through` asks for the answer as it was when the event of that sequence was the last one counted. Only the
//! service's tables know sequences; over core's views a snapshot does the same and `through` stays away.

mod query;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use product_bus::database::{span, traced};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe};

pub use query::Query;

/// Rows in one answer of a report by day, newest first: enough for two years, and a bounded page.
const ROWS_MAX: i64 = 1_000;
const DAY_S: i64 = 24 * 3600;

/// A closed set: what can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Revenue,
    Activity,
    Funnel,
    TopCustomers,
}

/// A day's takings in one currency, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revenue {
    /// "2026-11-22", in UTC.
    pub day: String,
    pub currency: String,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// Payments captured on that day.
    pub payments: i64,
}

/// What customers did on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// "2026-11-22", in UTC.
    pub day: String,
    pub registrations: i64,
    pub logins: i64,
    pub profile_updates: i64,
    /// Payments that the acquirer declined.
    pub declines: i64,
    /// Distinct users who did anything.
    pub active_users: i64,
}

/// How many of the users registered in the period came this far, by now. Each step includes those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// registered, logged_in, first_payment, second_payment
    pub step: String,
    pub users: i64,
}

/// One of those who paid most in a currency in the period, what was given back taken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    pub currency: String,
    pub user_id: String,
    pub net_minor: i64,
    pub payments: i64,
}

impl Report {
    pub const ALL: [Report; 4] = [Report::Revenue, Report::Activity, Report::Funnel, Report::TopCustomers];

    pub fn name(self) -> &'static str {
        match self {
            Report::Revenue => "revenue",
            Report::Activity => "activity",
            Report::Funnel => "funnel",
            Report::TopCustomers => "top-customers",
        }
    }

    /// What identifies a row among the rows of this report, for whoever compares two answers.
    pub fn key(self, row: &Value) -> String {
        let fields: &[&str] = match self {
            Report::Revenue => &["day", "currency"],
            Report::Activity => &["day"],
            Report::Funnel => &["step"],
            Report::TopCustomers => &["currency", "user_id"],
        };
        let values = fields.iter().map(|field| row[*field].as_str().unwrap_or_default());
        values.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Report {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Report, Unknown> {
        Report::ALL.into_iter().find(|report| report.name() == name).ok_or(Unknown)
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a report is revenue, activity, funnel or top-customers")]
pub struct Unknown;

/// The answer to any of the questions, a JSON object for each row.
pub async fn rows(
    connection: &mut AnyConnection,
    report: Report,
    query: &Query,
    through: Option<i64>,
) -> sqlx::Result<Vec<Value>> {
    match report {
        Report::Revenue => json(revenue(connection, query, through).await?),
        Report::Activity => json(activity(connection, query, through).await?),
        Report::Funnel => json(funnel(connection, query, through).await?),
        Report::TopCustomers => json(top_customers(connection, query, through).await?),
    }
}

/// Newest day first.
pub async fn revenue(
    connection: &mut AnyConnection,
    query: &Query,
    through: Option<i64>,
) -> sqlx::Result<Vec<Revenue>> {
    let Facts { payments, .. } = facts(through);
    let (from, to) = query.period_ms();
    let sql = format!(
        "SELECT day, currency, CAST(SUM(captured_minor) AS BIGINT), CAST(SUM(refunded_minor) AS BIGINT),
                CAST(SUM(payments) AS BIGINT)
         FROM (SELECT captured_at / 86400000 AS day, currency, amount_minor AS captured_minor, 0 AS refunded_minor,
                      1 AS payments
               FROM {payments} WHERE captured_at >= $1 AND captured_at < $2
               UNION ALL
               SELECT refunded_at / 86400000, currency, 0, amount_minor, 0
               FROM {payments} WHERE refunded_at >= $1 AND refunded_at < $2) AS moments
         GROUP BY day, currency ORDER BY day DESC, currency LIMIT $3"
    );
    let asked = sqlx::query_as(AssertSqlSafe(sql)).persistent(through.is_none()).bind(from).bind(to).bind(ROWS_MAX);
    let span = span(connection, "SELECT", "payment_facts");
    let rows: Vec<(i64, String, i64, i64, i64)> = traced(span, asked.fetch_all(connection)).await?;
    let revenue = |(number, currency, captured_minor, refunded_minor, payments)| Revenue {
        day: day(number),
        currency,
        captured_minor,
        refunded_minor,
        payments,
    };
    Ok(rows.into_iter().map(revenue).collect())
}

/// Newest day first.
pub async fn activity(
    connection: &mut AnyConnection,
    query: &Query,
    through: Option<i64>,
) -> sqlx::Result<Vec<Activity>> {
    let Facts { payments, users } = facts(through);
    let (from, to) = query.period_ms();
    let sql = format!(
        "SELECT day,
                CAST(SUM(CASE WHEN kind = 'registered' THEN 1 ELSE 0 END) AS BIGINT),
                CAST(SUM(CASE WHEN kind = 'logged_in' THEN 1 ELSE 0 END) AS BIGINT),
                CAST(SUM(CASE WHEN kind = 'profile_updated' THEN 1 ELSE 0 END) AS BIGINT),
                CAST(SUM(CASE WHEN kind = 'declined' THEN 1 ELSE 0 END) AS BIGINT),
                COUNT(DISTINCT user_id)
         FROM (SELECT at / 86400000 AS day, kind, user_id FROM {users} WHERE at >= $1 AND at < $2
               UNION ALL
               SELECT captured_at / 86400000, 'captured', user_id
               FROM {payments} WHERE captured_at >= $1 AND captured_at < $2
               UNION ALL
               SELECT declined_at / 86400000, 'declined', user_id
               FROM {payments} WHERE declined_at >= $1 AND declined_at < $2
               UNION ALL
               SELECT refunded_at / 86400000, 'refunded', user_id
               FROM {payments} WHERE refunded_at >= $1 AND refunded_at < $2) AS moments
         GROUP BY day ORDER BY day DESC LIMIT $3"
    );
    let asked = sqlx::query_as(AssertSqlSafe(sql)).persistent(through.is_none()).bind(from).bind(to).bind(ROWS_MAX);
    let span = span(connection, "SELECT", "user_facts");
    let rows: Vec<(i64, i64, i64, i64, i64, i64)> = traced(span, asked.fetch_all(connection)).await?;
    let activity = |(number, registrations, logins, profile_updates, declines, active_users)| Activity {
        day: day(number),
        registrations,
        logins,
        profile_updates,
        declines,
        active_users,
    };
    Ok(rows.into_iter().map(activity).collect())
}

/// The four steps, the widest first.
pub async fn funnel(connection: &mut AnyConnection, query: &Query, through: Option<i64>) -> sqlx::Result<Vec<Step>> {
    let Facts { payments, users } = facts(through);
    let (from, to) = query.period_ms();
    // `paying` hangs on `logged_in`: who paid without a login that we know of has not come that far.
    let sql = format!(
        "SELECT COUNT(*), COUNT(logged_in.user_id), COUNT(paying.user_id),
                CAST(COALESCE(SUM(CASE WHEN paying.payments >= 2 THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM (SELECT DISTINCT user_id FROM {users} WHERE kind = 'registered' AND at >= $1 AND at < $2) AS registered
         LEFT JOIN (SELECT DISTINCT user_id FROM {users} WHERE kind = 'logged_in') AS logged_in
                ON logged_in.user_id = registered.user_id
         LEFT JOIN (SELECT user_id, COUNT(*) AS payments FROM {payments} WHERE captured_at IS NOT NULL
                    GROUP BY user_id) AS paying
                ON paying.user_id = logged_in.user_id"
    );
    let asked = sqlx::query_as(AssertSqlSafe(sql)).persistent(through.is_none()).bind(from).bind(to);
    let span = span(connection, "SELECT", "user_facts");
    let (registered, logged_in, first_payment, second_payment): (i64, i64, i64, i64) =
        traced(span, asked.fetch_one(connection)).await?;
    let steps = [
        ("registered", registered),
        ("logged_in", logged_in),
        ("first_payment", first_payment),
        ("second_payment", second_payment),
    ];
    Ok(steps.map(|(step, users)| Step { step: step.to_owned(), users }).into())
}

/// By currency, those who paid most first; `query.limit` of each currency.
pub async fn top_customers(
    connection: &mut AnyConnection,
    query: &Query,
    through: Option<i64>,
) -> sqlx::Result<Vec<Customer>> {
    let Facts { payments, .. } = facts(through);
    let (from, to) = query.period_ms();
    // Ties go by id: hexadecimal digits and hyphens in fixed places, which every collation sorts alike.
    let sql = format!(
        "SELECT currency, user_id, net_minor, payments
         FROM (SELECT currency, user_id, net_minor, payments,
                      ROW_NUMBER() OVER (PARTITION BY currency ORDER BY net_minor DESC, user_id) AS place
               FROM (SELECT currency, user_id, COUNT(*) AS payments,
                            CAST(SUM(CASE WHEN refunded_at IS NULL THEN amount_minor ELSE 0 END) AS BIGINT) AS net_minor
                     FROM {payments} WHERE captured_at >= $1 AND captured_at < $2
                     GROUP BY currency, user_id) AS sums) AS places
         WHERE place <= $3 ORDER BY currency, place"
    );
    let asked =
        sqlx::query_as(AssertSqlSafe(sql)).persistent(through.is_none()).bind(from).bind(to).bind(query.rows_max());
    let span = span(connection, "SELECT", "payment_facts");
    let rows: Vec<(String, String, i64, i64)> = traced(span, asked.fetch_all(connection)).await?;
    let customer = |(currency, user_id, net_minor, payments)| Customer { currency, user_id, net_minor, payments };
    Ok(rows.into_iter().map(customer).collect())
}

/// What to select from.
struct Facts {
    payments: String,
    users: String,
}

/// Without a watermark the tables, or views, as they are. With one, what of them was known at it. The number is written
/// into the text rather than bound: core's views have no sequences, so the text differs anyway.
fn facts(through: Option<i64>) -> Facts {
    let Some(through) = through else {
        return Facts { payments: "payment_facts".to_owned(), users: "user_facts".to_owned() };
    };
    let moment = |name| format!("CASE WHEN {name}_sequence <= {through} THEN {name}_at END AS {name}_at");
    let moments = ["captured", "declined", "refunded"].map(moment).join(", ");
    Facts {
        payments: format!(
            "(SELECT payment_id, user_id, amount_minor, currency, created_at, {moments} FROM payment_facts) AS payments_then"
        ),
        users: format!(
            "(SELECT event_id, user_id, kind, at FROM user_facts WHERE sequence <= {through}) AS users_then"
        ),
    }
}

/// Days since 1970 as "2026-11-22". Moments come from nanoseconds in an i64, whose days jiff all knows.
fn day(number: i64) -> String {
    let midnight = Timestamp::from_second(number * DAY_S).unwrap_or(Timestamp::UNIX_EPOCH);
    midnight.to_zoned(TimeZone::UTC).date().to_string()
}

fn json<T: Serialize>(rows: Vec<T>) -> sqlx::Result<Vec<Value>> {
    let values = rows.into_iter().map(serde_json::to_value);
    values.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Encode(error.into()))
}
