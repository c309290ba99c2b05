//! For operators: where work is done, how the comparison of the two ways stands, and what was done here.

use axum::Json;
use axum::body::Body as AnswerBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Asked, Body, Segment};
use super::operator::Operator;
use super::problem::Problem;
use crate::flows::{Core, Error};
use crate::modes::comparison::{self, Comparison, Found};
use crate::modes::{Change, ChangeError, Concern, Mode, Route};

#[derive(Deserialize, ToSchema)]
pub(crate) struct ChangeBody {
    mode: Mode,
    /// Of the traffic; the rest goes as before. 100 unless given.
    #[schema(minimum = 0, maximum = 100)]
    percent: Option<u8>,
    /// Promote although the comparison is not clean.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct MismatchQuery {
    /// All concerns unless given.
    concern: Option<Concern>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Standings {
    jobs: Standing,
    analytics: Standing,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Standing {
    #[serde(flatten)]
    route: Route,
    comparison: Verdict,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    comparison: Comparison,
    /// Whether the service may take over.
    clean: bool,
    /// Why not.
    reason: Option<&'static str>,
}

/// Where work is done
#[utoipa::path(get, path = "/internal/modes", tag = "operations", security(("operator" = [])),
    responses((status = 200, description = "By concern, and how the comparison stands", body = Standings)))]
pub(crate) async fn read(State(core): State<Core>, _: Operator) -> Result<Json<Standings>, Problem> {
    let jobs = standing(&core, Concern::Jobs).await?;
    let analytics = standing(&core, Concern::Analytics).await?;
    Ok(Json(Standings { jobs, analytics }))
}

async fn standing(core: &Core, concern: Concern) -> Result<Standing, Problem> {
    let comparison = core.modes.comparison(concern).await.map_err(Error::from)?;
    let reason = comparison.clean().err();
    let comparison = Verdict { comparison, clean: reason.is_none(), reason };
    Ok(Standing { route: core.modes.route(concern), comparison })
}

/// Change where work is done
///
/// Holds from the next request on. More traffic for a service needs a clean comparison; going back needs nothing.
#[utoipa::path(put, path = "/internal/modes/{concern}", tag = "operations", security(("operator" = [])),
    params(("concern" = Concern, Path, description = "What is moved")), request_body = ChangeBody,
    responses(
        (status = 200, description = "Changed", body = Route),
        (status = 404, description = "No such concern"),
        (status = 409, description = "The comparison is not clean"),
    ))]
pub(crate) async fn change(
    State(core): State<Core>,
    _: Operator,
    Segment(concern): Segment,
    Body(body): Body<ChangeBody>,
) -> Result<Json<Route>, Problem> {
    let concern = Concern::parse(&concern).ok_or_else(Problem::no_route)?;
    let percent = body.percent.unwrap_or(100);
    if percent > 100 {
        return Err(Problem::field("percent", "must be between 0 and 100"));
    }
    let change = Change { mode: body.mode, percent, force: body.force };
    Ok(Json(core.modes.change(concern, change).await?))
}

/// What the two ways disagree on, newest first
#[utoipa::path(get, path = "/internal/mismatches", tag = "operations", security(("operator" = [])), params(MismatchQuery),
    responses((status = 200, description = "At most a thousand", body = Vec<Found>)))]
pub(crate) async fn mismatches(
    State(core): State<Core>,
    _: Operator,
    Asked(query): Asked<MismatchQuery>,
) -> Result<Json<Vec<Found>>, Problem> {
    Ok(Json(comparison::mismatches(&core.database, query.concern).await.map_err(Error::from)?))
}

/// What core has done itself, in the form in which the jobs service tells what it did
#[utoipa::path(get, path = "/internal/effects", tag = "operations", security(("operator" = [])),
    responses((status = 200, description = "A line for each kind of effect of each payment",
        content_type = "application/x-ndjson", body = String)))]
pub(crate) async fn effects(State(core): State<Core>, _: Operator) -> Response {
    let lines = ReceiverStream::new(product_jobs::effects::lines(&core.database));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], AnswerBody::from_stream(lines)).into_response()
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Problem {
        match error {
            ChangeError::NotClean(reason) => Problem::not_clean(reason),
            ChangeError::Database(error) => Error::from(error).into(),
        }
    }
}
