//! Tables of rate, errors and duration: how they are sorted and filtered.

use crate::rows::Rows;
use crate::state::matches;

/// The column a table is sorted by: names upwards, numbers downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Rate,
    Errors,
    P50,
    P95,
    P99,
}

impl Sort {
    pub(crate) fn next(self) -> Sort {
        match self {
            Sort::Name => Sort::Rate,
            Sort::Rate => Sort::Errors,
            Sort::Errors => Sort::P50,
            Sort::P50 => Sort::P95,
            Sort::P95 => Sort::P99,
            Sort::P99 => Sort::Name,
        }
    }

    /// What a row is ordered by; larger comes first.
    fn weight(self, rows: &Rows, row: usize) -> f64 {
        let weight = match self {
            Sort::Name => 0.0,
            Sort::Rate => rows.real("requests", row),
            Sort::Errors => rows.real("errors", row) / rows.real("requests", row).max(1.0),
            Sort::P50 => rows.real("p50_ns", row),
            Sort::P95 => rows.real("p95_ns", row),
            Sort::P99 => rows.real("p99_ns", row),
        };
        if weight.is_nan() { -1.0 } else { weight }
    }
}

/// The rows that match, in order.
pub(crate) fn order(rows: &Rows, name: &str, filter: &str, sort: Sort) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).filter(|row| matches(filter, &[rows.text(name, *row)])).collect();
    order.sort_by(|a, b| {
        let heavier = sort.weight(rows, *b).total_cmp(&sort.weight(rows, *a));
        heavier.then_with(|| rows.text(name, *a).cmp(rows.text(name, *b)))
    });
    order
}
