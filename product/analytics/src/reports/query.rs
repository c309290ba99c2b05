//! What a report is asked for.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use serde::Deserialize;

/// Customers in an answer unless asked otherwise: a list that fits a screen.
const CUSTOMERS_DEFAULT: u32 = 10;
/// And at most: a bounded page for each currency.
const CUSTOMERS_MAX: u32 = 100;

/// The days asked for, in UTC and both included; an open end has no bound.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    pub from: Option<Date>,
    #[serde(default)]
    pub to: Option<Date>,
    /// Customers of each currency in a list of customers: 10 unless given, at most 100.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Query {
    /// From the first moment of the period to the first one after it, milliseconds since 1970.
    pub(super) fn period_ms(&self) -> (i64, i64) {
        let after = |day: Date| day.checked_add(1.day()).ok().and_then(midnight_ms);
        (self.from.and_then(midnight_ms).unwrap_or(i64::MIN), self.to.and_then(after).unwrap_or(i64::MAX))
    }

    pub(super) fn rows_max(&self) -> i64 {
        self.limit.unwrap_or(CUSTOMERS_DEFAULT).min(CUSTOMERS_MAX).into()
    }
}

/// None beyond what can be told: then there is nothing there to be left out.
fn midnight_ms(day: Date) -> Option<i64> {
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: &str, to: &str) -> Query {
        Query { from: from.parse().ok(), to: to.parse().ok(), limit: None }
    }

    #[test]
    fn a_period_includes_both_days_and_may_be_open() {
        assert_eq!(query("1970-01-01", "1970-01-02").period_ms(), (0, 2 * 86_400_000));
        assert_eq!(query("", "").period_ms(), (i64::MIN, i64::MAX));
        assert_eq!(query("", "9999-12-31").period_ms(), (i64::MIN, i64::MAX));
    }

    #[test]
    fn a_list_is_bounded() {
        assert_eq!(Query { limit: Some(u32::MAX), ..Query::default() }.rows_max(), 100);
        assert_eq!(Query::default().rows_max(), 10);
    }
}
