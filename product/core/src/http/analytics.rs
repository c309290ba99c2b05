//! Reports for operators.

use axum::Json;
use axum::extract::State;
use product_analytics::reports::{Query, Report};
use serde_json::Value;

use super::extract::{Asked, Segment};
use super::operator::Operator;
use super::problem::Problem;
use crate::analytics::ReportError;
use crate::flows::{Core, Error};

/// A report on the business
///
/// `revenue` and `activity` by day, the `funnel` from registration to the second payment, `top-customers` by currency.
#[utoipa::path(get, path = "/v1/analytics/{report}", tag = "analytics", security(("operator" = [])),
    params(
        ("report" = String, Path, description = "revenue, activity, funnel or top-customers"),
        ("from" = Option<String>, Query, description = "First day, in UTC", format = Date),
        ("to" = Option<String>, Query, description = "Last day, in UTC", format = Date),
        ("limit" = Option<u32>, Query, description = "Customers of each currency"),
    ),
    responses(
        (status = 200, description = "Its rows", body = Vec<Object>),
        (status = 404, description = "No such report"),
    ))]
pub(crate) async fn report(
    State(core): State<Core>,
    _: Operator,
    Segment(report): Segment,
    Asked(query): Asked<Query>,
) -> Result<Json<Vec<Value>>, Problem> {
    let report: Report = report.parse().map_err(|_| Problem::no_route())?;
    Ok(Json(core.reports.rows(report, query).await?))
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Problem {
        match error {
            ReportError::Away(cause) => Problem::analytics_away(&cause),
            ReportError::Database(error) => Error::from(error).into(),
        }
    }
}
