//! The HTTP interface: health, the reports, and the evidence of what was counted.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use product_bus::database::Database;
use serde::Deserialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use crate::facts;
use crate::reports::{self, Report};

pub(crate) fn router(database: Database, operator_token: Option<&str>) -> Router {
    let operators = Router::new()
        .route("/internal/effects", get(effects))
        .route("/internal/reports/{report}", get(report_through))
        .route("/v1/analytics/{report}", get(report));
    let router = observe::http::operators_only(operators, operator_token)
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .with_state(database);
    observe::http::observed(router)
}

async fn effects(State(database): State<Database>) -> Response {
    let lines = ReceiverStream::new(facts::lines(&database));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// The rows of a report; `?from=2026-11-01&to=2026-11-30&limit=10`.
async fn report(
    State(database): State<Database>,
    Path(report): Path<String>,
    query: Result<Query<reports::Query>, QueryRejection>,
) -> Response {
    let (report, query) = match (report.parse::<Report>(), query) {
        (Ok(report), Ok(Query(query))) => (report, query),
        (Err(unknown), _) => return problem(StatusCode::NOT_FOUND, &unknown.to_string()),
        (_, Err(_)) => return bad_query(),
    };
    let rows = async { reports::rows(&mut *database.read().await?, report, &query, None).await };
    match rows.await {
        Ok(rows) => Json(rows).into_response(),
        Err(error) => broken(report, &error),
    }
}

#[derive(Deserialize)]
struct Watermark {
    /// The last sequence that the rows know of.
    through: i64,
    /// Events up to this sequence are not counted in `applied`: whoever asks knows them no longer.
    #[serde(default)]
    after: i64,
}

/// The same rows as of a watermark, and how many events up to it are counted. Counted first: when all of them are, the
/// rows that are read next are those of the watermark, whatever arrives meanwhile.
async fn report_through(
    State(database): State<Database>,
    Path(report): Path<String>,
    query: Result<Query<reports::Query>, QueryRejection>,
    watermark: Result<Query<Watermark>, QueryRejection>,
) -> Response {
    let (report, query, Watermark { through, after }) = match (report.parse::<Report>(), query, watermark) {
        (Ok(report), Ok(Query(query)), Ok(Query(watermark))) => (report, query, watermark),
        (Err(unknown), ..) => return problem(StatusCode::NOT_FOUND, &unknown.to_string()),
        _ => return bad_query(),
    };
    let answer = async {
        let mut connection = database.read().await?;
        let applied = facts::applied(&mut connection, after, through).await?;
        let rows = reports::rows(&mut connection, report, &query, Some(through)).await?;
        sqlx::Result::Ok(json!({"applied": applied, "rows": rows}))
    };
    match answer.await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => broken(report, &error),
    }
}

fn broken(report: Report, error: &sqlx::Error) -> Response {
    tracing::error!(exception.message = %error, "could not answer the report {report}: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be read")
}

fn bad_query() -> Response {
    problem(
        StatusCode::BAD_REQUEST,
        "from and to are days such as 2026-11-22; limit, after and through are numbers, and through is needed",
    )
}

/// An error by RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({"title": status.canonical_reason(), "status": status.as_u16(), "detail": detail});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
