//! The traces a question is about, read from its filters on column `trace_id`: what spares opening files without them.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::story::TraceId;

/// With more traces than this, every file holds one of them.
const TRACES_MAX: usize = 1000;

/// Every row for which all `filters` hold has one of these ids. `None`: it may have any, or none.
pub(crate) fn traces(filters: &[Expr]) -> Option<Vec<TraceId>> {
    let among = filters.iter().flat_map(split_conjunction).filter_map(among);
    among.min_by_key(Vec::len).filter(|traces| traces.len() <= TRACES_MAX)
}

fn among(filter: &Expr) -> Option<Vec<TraceId>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (&**left, &**right) {
            (column, id) | (id, column) if is_trace_id(column) => Some(vec![trace_id(id)?]),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (mut traces, others) = (among(left)?, among(right)?);
            traces.extend(others);
            Some(traces)
        }
        Expr::InList(InList { expr, list, negated: false }) if is_trace_id(expr) => list.iter().map(trace_id).collect(),
        _ => None,
    }
}

fn is_trace_id(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "trace_id")
}

fn trace_id(expr: &Expr) -> Option<TraceId> {
    match expr {
        Expr::Literal(ScalarValue::FixedSizeBinary(_, Some(id)) | ScalarValue::Binary(Some(id)), _) => {
            TraceId::try_from(id.as_slice()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};

    fn id(byte: u8) -> Expr {
        lit(ScalarValue::FixedSizeBinary(16, Some(vec![byte; 16])))
    }

    fn check(filters: &[Expr], expected: Option<&[u8]>) {
        let expected = expected.map(|bytes| bytes.iter().map(|byte| [*byte; 16]).collect::<Vec<_>>());
        assert_eq!(traces(filters), expected, "{filters:?}");
    }

    #[test]
    fn what_names_traces_is_understood() {
        check(&[col("trace_id").eq(id(1)), col("name").eq(lit("x"))], Some(&[1]));
        check(&[id(1).eq(col("trace_id")).and(col("kind").eq(lit("Server")))], Some(&[1]));
        check(&[col("trace_id").eq(id(1)).or(col("trace_id").eq(id(2)))], Some(&[1, 2]));
        check(&[col("trace_id").in_list(vec![id(1), id(2)], false), col("trace_id").eq(id(2))], Some(&[2]));
    }

    #[test]
    fn anything_else_may_be_any_trace() {
        check(&[], None);
        check(&[col("span_id").eq(id(1))], None);
        check(&[col("trace_id").not_eq(id(1))], None);
        check(&[col("trace_id").in_list(vec![id(1)], true)], None);
        check(&[col("trace_id").eq(id(1)).or(col("name").eq(lit("x")))], None);
        check(&[col("trace_id").in_list(vec![id(1), col("trace_id")], false)], None);
        check(&[col("trace_id").in_list((0..=TRACES_MAX).map(|_| id(1)).collect(), false)], None);
    }
}
