//! For operators: where work is done, how the comparison of the two ways stands, and what was done here.

use axum::Json;
use axum::body::Body as AnswerBody;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_stream::wrappers::ReceiverStream;

use super::extract::{Asked, Body};
use super::operator::Operator;
use super::problem::Problem;
use crate::flows::{Core, Error};
use crate::modes::{Change, ChangeError, Concern, Mode, comparison};

#[derive(Deserialize)]
pub(crate) struct ChangeBody {
    mode: Mode,
    percent: Option<u8>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
pub(crate) struct MismatchQuery {
    concern: Option<Concern>,
}

pub(crate) async fn read(State(core): State<Core>, _: Operator) -> Result<Json<Value>, Problem> {
    let mut modes = Map::new();
    for concern in Concern::ALL {
        let route = core.modes.route(concern);
        let comparison = core.modes.comparison(concern).await.map_err(Error::from)?;
        let reason = comparison.clean().err();
        let comparison = json!({
            "since": comparison.since, "matched": comparison.matched, "mismatched": comparison.mismatched,
            "waiting": comparison.waiting, "clean": reason.is_none(), "reason": reason,
        });
        let mode = json!({
            "mode": route.mode, "percent": route.percent, "otherwise": route.otherwise, "comparison": comparison,
        });
        modes.insert(concern.as_str().to_owned(), mode);
    }
    Ok(Json(modes.into()))
}

pub(crate) async fn change(
    State(core): State<Core>,
    _: Operator,
    Path(concern): Path<String>,
    Body(body): Body<ChangeBody>,
) -> Result<Json<Value>, Problem> {
    let concern = Concern::parse(&concern).ok_or_else(Problem::no_route)?;
    let percent = body.percent.unwrap_or(100);
    if percent > 100 {
        return Err(Problem::field("percent", "must be between 0 and 100"));
    }
    let route = core.modes.change(concern, Change { mode: body.mode, percent, force: body.force }).await?;
    Ok(Json(json!(route)))
}

pub(crate) async fn mismatches(
    State(core): State<Core>,
    _: Operator,
    Asked(query): Asked<MismatchQuery>,
) -> Result<Json<Value>, Problem> {
    let found = comparison::mismatches(&core.database, query.concern).await.map_err(Error::from)?;
    Ok(Json(json!(found)))
}

/// What core has done itself, in the form in which the jobs service tells what it did.
pub(crate) async fn effects(State(core): State<Core>) -> Response {
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
