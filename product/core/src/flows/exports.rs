//! A copy of everything we keep of an account: asked for here, made by the jobs.

use serde_json::Value;
use tracing::{info, instrument};
use uuid::Uuid;

use super::{Core, Error};
use crate::domain::audit::{self, Entry, Kind};
use crate::domain::exports::{self, Export};
use crate::domain::{events, now};

/// Notes the request and tells the jobs; the copy is of the moment of the request.
#[instrument(name = "request export", skip_all, fields(user.id = %user_id))]
pub(crate) async fn request(core: &Core, user_id: Uuid) -> Result<Export, Error> {
    let now = now();
    let mut transaction = core.database.begin().await?;
    let export = exports::request(&mut transaction, user_id, now).await?;
    let account = exports::account(&mut transaction, user_id).await?;
    let event = events::export_requested(user_id, export.id, account, now);
    let entry = Entry { id: event.id, detail: Some(export.id), ..Entry::new(Kind::ExportRequested, user_id, now) };
    audit::note(&mut transaction, entry).await?;
    let told = core.tell(&mut transaction, events::USERS, user_id, event).await?;
    core.commit(transaction, told).await?;
    info!(user.id = %user_id, export.id = %export.id, "user {user_id} asked for export {}", export.id);
    Ok(export)
}

/// The request, and the copy once it is made.
#[instrument(name = "read export", skip_all, fields(user.id = %user_id, export.id = %export_id))]
pub(crate) async fn find(core: &Core, user_id: Uuid, export_id: Uuid) -> Result<(Export, Option<Value>), Error> {
    let export = {
        let mut connection = core.database.read().await?;
        exports::find(&mut connection, user_id, export_id).await?.ok_or(Error::ExportMissing)?
    };
    let made = core.jobs.export(export.id).await.map_err(|error| Error::Internal(error.into()))?;
    let copy = made.as_deref().map(serde_json::from_slice).transpose();
    Ok((export, copy.map_err(|error| Error::Internal(error.into()))?))
}
