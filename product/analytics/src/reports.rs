//! What the projections answer.

use jiff::civil::Date;
use product_bus::database::{Database, traced};
use serde::{Deserialize, Serialize};

/// Days in one answer, newest first: enough for two years, and a bounded page.
const ROWS_MAX: i64 = 1_000;

/// A day's takings in one currency, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Revenue {
    pub day: String,
    pub currency: String,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// Payments captured on that day.
    pub payments: i64,
}

/// What customers did on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Activity {
    pub day: String,
    pub registrations: i64,
    pub logins: i64,
    pub profile_updates: i64,
    /// Payments that the acquirer declined.
    pub declines: i64,
    /// Distinct users who did anything.
    pub active_users: i64,
}

/// The days asked for, both ends included; an open end has no bound.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Period {
    from: Option<Date>,
    to: Option<Date>,
}

impl Period {
    /// As text that compares like the days themselves.
    fn bounds(&self) -> (String, String) {
        (self.from.unwrap_or(Date::ZERO).to_string(), self.to.unwrap_or(Date::MAX).to_string())
    }
}

pub(crate) async fn revenue(database: &Database, period: Period) -> sqlx::Result<Vec<Revenue>> {
    let (from, to) = period.bounds();
    let query =
        sqlx::query_as("SELECT * FROM revenue_by_day WHERE day BETWEEN $1 AND $2 ORDER BY day DESC, currency LIMIT $3")
            .bind(from)
            .bind(to)
            .bind(ROWS_MAX)
            .fetch_all(database.readers());
    traced(database.dialect().span("SELECT", "revenue_by_day"), query).await
}

pub(crate) async fn activity(database: &Database, period: Period) -> sqlx::Result<Vec<Activity>> {
    let (from, to) = period.bounds();
    let query = sqlx::query_as("SELECT * FROM activity_by_day WHERE day BETWEEN $1 AND $2 ORDER BY day DESC LIMIT $3")
        .bind(from)
        .bind(to)
        .bind(ROWS_MAX)
        .fetch_all(database.readers());
    traced(database.dialect().span("SELECT", "activity_by_day"), query).await
}
