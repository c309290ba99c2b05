//! The routes at rest: one row for each concern.

use std::time::Duration;

use jiff::Timestamp;
use product_bus::database::Database;
use sqlx::Row;

use super::{Concern, Mode, Route};
use crate::domain::{span, traced, undecodable};

/// How late one core follows what another on the same database was told: there are two only while one hands over.
pub(super) const REFRESH_EVERY: Duration = Duration::from_millis(500);

/// Adds the row of a concern that has none.
pub(super) async fn begin(database: &Database, concern: Concern, route: Route, now: Timestamp) -> sqlx::Result<()> {
    let mut transaction = database.begin().await?;
    let query = sqlx::query(
        "INSERT INTO modes (concern, mode, percent, otherwise, changed_at, since, matched, mismatched, compared_at,
             read_to)
         VALUES ($1, $2, $3, $4, $5, $5, 0, 0, 0, 0) ON CONFLICT (concern) DO NOTHING",
    )
    .bind(concern.as_str())
    .bind(route.mode.as_str())
    .bind(i64::from(route.percent))
    .bind(route.otherwise.as_str())
    .bind(now.as_millisecond());
    traced(span(&transaction, "INSERT", "modes"), query.execute(&mut *transaction)).await?;
    database.commit(transaction).await
}

/// Changes a route; `restart` begins a new comparison.
pub(super) async fn set(
    database: &Database,
    concern: Concern,
    route: Route,
    restart: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    let mut transaction = database.begin().await?;
    let query =
        sqlx::query("UPDATE modes SET mode = $1, percent = $2, otherwise = $3, changed_at = $4 WHERE concern = $5")
            .bind(route.mode.as_str())
            .bind(i64::from(route.percent))
            .bind(route.otherwise.as_str())
            .bind(now.as_millisecond())
            .bind(concern.as_str());
    traced(span(&transaction, "UPDATE", "modes"), query.execute(&mut *transaction)).await?;
    if restart {
        let query = sqlx::query("UPDATE modes SET since = $1, matched = 0, mismatched = 0 WHERE concern = $2")
            .bind(now.as_millisecond())
            .bind(concern.as_str());
        traced(span(&transaction, "UPDATE", "modes"), query.execute(&mut *transaction)).await?;
    }
    database.commit(transaction).await
}

pub(super) async fn all(database: &Database) -> sqlx::Result<Vec<(Concern, Route)>> {
    let mut connection = database.read().await?;
    let query = sqlx::query("SELECT concern, mode, percent, otherwise FROM modes");
    // Asked twice a second for as long as core runs: a span each time would tell nothing.
    let rows = query.fetch_all(&mut *connection).await?;
    let mode = |row: &sqlx::any::AnyRow, column: &str| -> sqlx::Result<Mode> {
        Mode::parse(row.try_get(column)?).ok_or_else(|| undecodable(column, "unknown mode"))
    };
    rows.iter()
        .map(|row| {
            let concern = Concern::parse(row.try_get("concern")?);
            let concern = concern.ok_or_else(|| undecodable("concern", "unknown concern"))?;
            let percent = u8::try_from(row.try_get::<i64, _>("percent")?);
            let percent = percent.map_err(|error| undecodable("percent", error))?;
            Ok((concern, Route { mode: mode(row, "mode")?, percent, otherwise: mode(row, "otherwise")? }))
        })
        .collect()
}
