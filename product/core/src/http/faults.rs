//! A fault that only core can do to itself: its disk is full.
//!
//! SQLite says the same for a file that may not grow as for a disk that has no room: "database or disk is full".

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use product_bus::database::Dialect;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::extract::Body;
use super::operator::Operator;
use super::problem::Problem;
use crate::flows::{Core, Error};

/// A fault that somebody forgot ends after an hour.
const FOR_S_MAX: u64 = 3_600;

#[derive(Deserialize)]
pub(crate) struct Order {
    kind: String,
    for_s: u64,
}

pub(crate) async fn start(
    State(core): State<Core>,
    _: Operator,
    Body(Order { kind, for_s }): Body<Order>,
) -> Result<Json<Value>, Problem> {
    if kind != "disk-full" || core.database.dialect() != Dialect::Sqlite {
        return Err(Problem::field("kind", "must be disk-full, and the database SQLite"));
    }
    if !(1..=FOR_S_MAX).contains(&for_s) {
        return Err(Problem::field("for_s", "must be between 1 and 3600"));
    }
    core.database.set_full(true).await.map_err(Error::from)?;
    info!(fault.kind = kind, "the database may not grow for {for_s} s");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(for_s)).await;
        if let Err(error) = core.database.set_full(false).await {
            warn!("the database may still not grow: {error}");
        }
    });
    Ok(Json(json!({"kind": kind, "for_s": for_s})))
}

pub(crate) async fn end(State(core): State<Core>, _: Operator) -> Result<Json<Value>, Problem> {
    core.database.set_full(false).await.map_err(Error::from)?;
    Ok(Json(json!({})))
}
