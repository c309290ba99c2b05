//! The window of time a question is about, read from its filters on column `time`.
//!
//! `date_trunc(…, time)` and `date_bin(…, time)` round down, so a bound on the bucket is a bound on the time: that is what
//! makes buckets prune files.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Nanoseconds since the epoch, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Bounds {
    pub(crate) const ALL: Bounds = Bounds { from: i64::MIN, to: i64::MAX };

    /// Every row for which all `filters` hold lies inside.
    pub(crate) fn of(filters: &[Expr]) -> Bounds {
        let mut bounds = Bounds::ALL;
        for filter in filters.iter().flat_map(split_conjunction) {
            bounds.narrow(filter);
        }
        bounds
    }

    pub(crate) fn overlaps(&self, min: i64, max: i64) -> bool {
        min <= self.to && max >= self.from
    }

    fn narrow(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let (Some(width), Some(at)) = (bucket_width(left), nanoseconds(right)) {
                    self.compare(width, *op, at);
                } else if let (Some(at), Some(width), Some(op)) = (nanoseconds(left), bucket_width(right), op.swap()) {
                    self.compare(width, op, at);
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let Some(width) = bucket_width(expr) else { return };
                if let Some(low) = nanoseconds(low) {
                    self.compare(width, Operator::GtEq, low);
                }
                if let Some(high) = nanoseconds(high) {
                    self.compare(width, Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }

    /// `bucket op at`, where a bucket holds the times from its start up to `width` later.
    fn compare(&mut self, width: i64, op: Operator, at: i64) {
        let last = at.saturating_add(width - 1);
        match op {
            Operator::Gt | Operator::GtEq => self.from = self.from.max(at),
            Operator::Lt | Operator::LtEq => self.to = self.to.min(last),
            Operator::Eq => {
                self.from = self.from.max(at);
                self.to = self.to.min(last);
            }
            _ => {}
        }
    }
}

/// Nanoseconds a bucket spans: one for `time` itself; none when this is no bucket of time.
fn bucket_width(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Column(column) => (column.name == "time").then_some(1),
        // A change of time zone moves nothing. One of unit cuts up to a second.
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => {
            bucket_width(&cast.expr)?.checked_add(SECOND)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match (func.name(), args.as_slice()) {
            ("date_trunc", [unit, time]) => unit_width(unit)?.checked_add(bucket_width(time)?),
            ("date_bin", [interval, time]) => interval_width(interval)?.checked_add(bucket_width(time)?),
            _ => None,
        },
        _ => None,
    }
}

fn unit_width(unit: &Expr) -> Option<i64> {
    let Expr::Literal(unit, _) = unit else { return None };
    Some(match unit.try_as_str()??.to_ascii_lowercase().as_str() {
        "microsecond" | "millisecond" | "second" => SECOND,
        "minute" => 60 * SECOND,
        "hour" => 3_600 * SECOND,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 31 * DAY,
        "quarter" => 92 * DAY,
        "year" => 366 * DAY,
        _ => return None,
    })
}

fn interval_width(interval: &Expr) -> Option<i64> {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(width)), _) if width.months == 0 => {
            i64::from(width.days).checked_mul(DAY)?.checked_add(width.nanoseconds)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(width)), _) => {
            i64::from(width.days).checked_mul(DAY)?.checked_add(i64::from(width.milliseconds) * 1_000_000)
        }
        _ => None,
    }
    .filter(|width| *width > 0)
}

fn nanoseconds(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(at, _), _) => *at,
        Expr::Literal(ScalarValue::TimestampMicrosecond(at, _), _) => at.map(|at| at.saturating_mul(1_000)),
        Expr::Literal(ScalarValue::TimestampMillisecond(at, _), _) => at.map(|at| at.saturating_mul(1_000_000)),
        Expr::Literal(ScalarValue::TimestampSecond(at, _), _) => at.map(|at| at.saturating_mul(SECOND)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::functions::datetime::expr_fn::{date_bin, date_trunc};
    use datafusion::logical_expr::{col, lit};

    fn at(seconds: i64) -> Expr {
        lit(ScalarValue::TimestampSecond(Some(seconds), None))
    }

    #[test]
    fn comparisons_of_time_are_bounds() {
        let bounds = Bounds::of(&[col("time").gt(at(5)), at(9).gt_eq(col("time")), col("duration_ns").lt(lit(3))]);
        assert_eq!(bounds, Bounds { from: 5 * SECOND, to: 9 * SECOND });
        assert_eq!(Bounds::of(&[col("end_time").gt(at(5))]), Bounds::ALL);
        assert_eq!(Bounds::of(&[col("time").gt(at(5)).or(col("time").lt(at(3)))]), Bounds::ALL);
    }

    #[test]
    fn a_bound_on_a_bucket_is_a_bound_on_its_times() {
        let minute = Bounds::of(&[date_trunc(lit("minute"), col("time")).eq(at(120))]);
        assert_eq!(minute.from, 120 * SECOND);
        assert!((180 * SECOND - 1..181 * SECOND).contains(&minute.to), "{minute:?}");
        let ten = lit(ScalarValue::new_interval_mdn(0, 0, 10 * SECOND));
        let bin = Bounds::of(&[date_bin(ten, col("time"), lit(0)).lt(at(20))]);
        assert_eq!(bin, Bounds::ALL, "a bin with an origin of its own is not understood");
    }
}
