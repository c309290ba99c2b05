//! The daily settlement: what was taken and given back in each currency, told once for each day.
//!
//! Every captured or refunded payment becomes an item with its first effect. Settling a day takes all items up to its end
//! that no settlement has; one that comes late goes into the next. So a settled day never changes, and every item is in
//! one settlement. An event is dealt with on one side, core's or the service's: each settles its own items into a file
//! that has its name, and the files of a day add up to the day.

use std::time::Duration;

use anyhow::Context;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use product_bus::Event;
use product_bus::database::{Database, span, traced};
use serde::Serialize;
use sqlx::AnyConnection;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::event::{Occasion, Payment};
use crate::files::Folder;

/// How often the clock looks whether a day is over: a settlement may be so much later.
const CLOCK: Duration = Duration::from_secs(60);
/// After midnight, for what is still on its way. What takes longer goes into the next settlement.
const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// A day in one currency, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Settlement {
    /// "2026-11-22", in UTC.
    pub day: String,
    pub currency: String,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// Payments captured and refunds.
    pub items: i64,
}

/// Adds an item, once for each event.
pub(crate) async fn add(
    connection: &mut AnyConnection,
    event: &Event,
    payment: &Payment,
    occasion: Occasion,
) -> sqlx::Result<()> {
    let at = Timestamp::from_nanosecond(event.time_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    let (captured, refunded) = match occasion {
        Occasion::Captured => (payment.amount_minor, 0),
        Occasion::Refunded => (0, payment.amount_minor),
    };
    let query = sqlx::query(
        "INSERT INTO settlement_items (event_id, day, currency, captured_minor, refunded_minor)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(event.id.to_string())
    .bind(day_of(at).to_string())
    .bind(&payment.currency)
    .bind(captured)
    .bind(refunded);
    let span = span(connection, "INSERT", "settlement_items");
    traced(span, query.execute(connection)).await.map(drop)
}

/// Settles `day` and returns it; a day that is settled is returned as it is. Its file is there when this returns.
pub(crate) async fn settle(
    database: &Database,
    folder: &Folder,
    day: Date,
    by: &str,
) -> anyhow::Result<Vec<Settlement>> {
    let rows = rows(database, day).await.with_context(|| format!("could not settle {day}"))?;
    if !rows.is_empty() {
        let name = format!("{day}.{by}.csv");
        // Written again each time: whoever ended between the commit and the file is made good for.
        folder.write(&name, csv(&rows)).await.with_context(|| format!("could not write {name}"))?;
    }
    Ok(rows)
}

async fn rows(database: &Database, day: Date) -> sqlx::Result<Vec<Settlement>> {
    let day = day.to_string();
    let mut transaction = database.begin().await?;
    // Items are taken first and summed up by their mark: what another transaction adds meanwhile is in neither.
    let take = sqlx::query(
        "UPDATE settlement_items SET settled_on = $1
         WHERE settled_on IS NULL AND day <= $1 AND NOT EXISTS (SELECT 1 FROM settlements WHERE day = $1)",
    )
    .bind(&day);
    let taking = span(&transaction, "UPDATE", "settlement_items");
    let taken = traced(taking, take.execute(&mut *transaction)).await?.rows_affected();
    if taken > 0 {
        let sum = sqlx::query(
            "INSERT INTO settlements (day, currency, captured_minor, refunded_minor, items)
             SELECT settled_on, currency, CAST(SUM(captured_minor) AS BIGINT), CAST(SUM(refunded_minor) AS BIGINT),
                    COUNT(*)
             FROM settlement_items WHERE settled_on = $1 GROUP BY settled_on, currency",
        )
        .bind(&day);
        let summing = span(&transaction, "INSERT", "settlements");
        traced(summing, sum.execute(&mut *transaction)).await?;
        info!(settlement.day = day, settlement.items = taken, "settled {day} with {taken} items");
    }
    let select = sqlx::query_as(
        "SELECT day, currency, captured_minor, refunded_minor, items FROM settlements WHERE day = $1 ORDER BY currency",
    )
    .bind(&day);
    let selecting = span(&transaction, "SELECT", "settlements");
    let rows = traced(selecting, select.fetch_all(&mut *transaction)).await?;
    database.commit(transaction).await?;
    Ok(rows)
}

/// Settles the last day that is over, again and again until `stop`.
pub(crate) async fn by_the_clock(database: &Database, folder: &Folder, by: &str, stop: &CancellationToken) {
    let mut clock = tokio::time::interval(CLOCK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        let Some(day) = last_day_over(Timestamp::now()) else { continue };
        if let Err(error) = settle(database, folder, day, by).await {
            warn!(settlement.day = %day, "a settlement is tried again in a minute: {error:#}");
        }
    }
}

/// The last day that nothing more is expected of.
pub(crate) fn last_day_over(now: Timestamp) -> Option<Date> {
    day_of(now.checked_sub(GRACE).ok()?).yesterday().ok()
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Days, codes of currencies and numbers: nothing that would need quotes.
fn csv(rows: &[Settlement]) -> String {
    let head = "day,currency,captured_minor,refunded_minor,net_minor,items\n".to_owned();
    rows.iter().fold(head, |text, row| {
        let Settlement { day, currency, captured_minor, refunded_minor, items } = row;
        let net_minor = captured_minor - refunded_minor;
        format!("{text}{day},{currency},{captured_minor},{refunded_minor},{net_minor},{items}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_over_some_minutes_after_midnight() {
        let last = |now: &str| last_day_over(now.parse().expect("a time")).map(|day| day.to_string());
        assert_eq!(last("2026-11-22T00:04:59Z").as_deref(), Some("2026-11-20"));
        assert_eq!(last("2026-11-22T00:05:00Z").as_deref(), Some("2026-11-21"));
    }
}
