//! Copies of an account for its owner.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Id, SignedIn};
use super::problem::Problem;
use crate::domain::exports::Export as Request;
use crate::flows::{Core, Error, exports};

#[derive(Serialize, ToSchema)]
pub(crate) struct Export {
    export_id: Uuid,
    status: Progress,
    requested_at: Timestamp,
    /// The copy, once it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    export: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    Requested,
    Done,
}

/// Ask for a copy of the account
///
/// It is made in the background; ask for it with the id.
#[utoipa::path(post, path = "/v1/exports", tag = "exports", security(("session" = [])),
    responses((status = 202, description = "Asked for", body = Export)))]
pub(crate) async fn request(
    State(core): State<Core>,
    signed_in: SignedIn,
) -> Result<(StatusCode, Json<Export>), Problem> {
    let request = exports::request(&core, signed_in.user_id()).await?;
    Ok((StatusCode::ACCEPTED, Json(Export::new(request, None))))
}

/// See whether the copy is made
#[utoipa::path(get, path = "/v1/exports/{id}", tag = "exports", security(("session" = [])),
    params(("id" = Uuid, Path, description = "Of the export")),
    responses(
        (status = 200, description = "The copy, or that it is not made yet", body = Export),
        (status = 404, description = "No such export of this account"),
    ))]
pub(crate) async fn read(State(core): State<Core>, signed_in: SignedIn, Id(id): Id) -> Result<Json<Export>, Problem> {
    let id = id.ok_or(Error::ExportMissing)?;
    let (request, copy) = exports::find(&core, signed_in.user_id(), id).await?;
    Ok(Json(Export::new(request, copy)))
}

impl Export {
    fn new(request: Request, export: Option<Value>) -> Export {
        let status = if export.is_some() { Progress::Done } else { Progress::Requested };
        Export { export_id: request.id, status, requested_at: request.requested_at, export }
    }
}
