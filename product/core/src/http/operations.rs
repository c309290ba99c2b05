//! For whoever runs core: is it up, does its outbox empty, do its books balance.

use axum::Json;
use axum::extract::State;
use product_bus::outbox;
use serde::Serialize;
use utoipa::ToSchema;

use super::operator::Operator;
use super::problem::Problem;
use crate::domain::ledger::{self, Books};
use crate::flows::{Core, Error};

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Outbox {
    pending: i64,
}

/// Whether core answers
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Events that the broker does not have yet; in a pure monolith only those that somebody waits for
#[utoipa::path(get, path = "/internal/outbox", tag = "operations", security(("operator" = [])),
    responses((status = 200, description = "How many", body = Outbox)))]
pub(crate) async fn outbox(State(core): State<Core>, _: Operator) -> Result<Json<Outbox>, Problem> {
    let open = *core.modes.gate().borrow();
    let pending = if open { outbox::pending(&core.database).await } else { outbox::wanted(&core.database).await };
    let pending = pending.map_err(Error::from)?;
    Ok(Json(Outbox { pending }))
}

/// The books: every account, and whether they balance
#[utoipa::path(get, path = "/internal/ledger", tag = "operations", security(("operator" = [])),
    responses((status = 200, description = "As of one moment", body = Books)))]
pub(crate) async fn ledger(State(core): State<Core>, _: Operator) -> Result<Json<Books>, Problem> {
    let mut connection = core.database.read().await.map_err(Error::from)?;
    Ok(Json(ledger::books(&mut connection).await.map_err(Error::from)?))
}
