//! For whoever runs core: is it up, does its outbox empty.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::flows::{Core, Error};

pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Events that the broker does not have yet.
pub(crate) async fn outbox(State(core): State<Core>) -> Result<Json<Value>, Problem> {
    let pending = product_bus::outbox::pending(&core.database).await.map_err(Error::from)?;
    Ok(Json(json!({ "pending": pending })))
}
