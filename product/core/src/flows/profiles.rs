//! Read and write a profile.

use tracing::{info, instrument};
use uuid::Uuid;

use super::{Core, Error, tell};
use crate::domain::profiles::{self, Profile};
use crate::domain::{events, now};

#[instrument(name = "read profile", skip_all, fields(user.id = %user_id))]
pub(crate) async fn read(core: &Core, user_id: Uuid) -> Result<Profile, Error> {
    let mut connection = core.database.read().await?;
    Ok(profiles::read(&mut connection, user_id).await?)
}

#[instrument(name = "write profile", skip_all, fields(user.id = %user_id))]
pub(crate) async fn write(core: &Core, user_id: Uuid, profile: &Profile) -> Result<(), Error> {
    let now = now();
    let mut transaction = core.database.begin().await?;
    profiles::write(&mut transaction, user_id, profile, now).await?;
    let event = events::profile_updated(user_id, &profile.display_name, now);
    tell(&mut transaction, events::USERS, &event).await?;
    core.commit(transaction).await?;
    info!(user.id = %user_id, "user {user_id} changed the profile");
    Ok(())
}
