//! Reports for operators.

use axum::Json;
use axum::extract::{Path, State};
use product_analytics::reports::{Query, Report};
use serde_json::Value;

use super::extract::Asked;
use super::operator::Operator;
use super::problem::Problem;
use crate::analytics::ReportError;
use crate::flows::{Core, Error};

pub(crate) async fn report(
    State(core): State<Core>,
    _: Operator,
    Path(report): Path<String>,
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
