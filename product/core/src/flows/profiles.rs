//! Read and write a profile and its picture.

use tracing::{info, info_span, instrument};
use uuid::Uuid;

use super::{Core, Error};
use crate::domain::audit::{self, Entry, Kind};
use crate::domain::profiles::{self, Profile};
use crate::domain::{avatars, events, now};
use crate::images::{self, PictureError};

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
    let entry = Entry { id: event.id, ..Entry::new(Kind::ProfileUpdated, user_id, now) };
    audit::note(&mut transaction, entry).await?;
    let told = core.tell(&mut transaction, events::USERS, user_id, event).await?;
    core.commit(transaction, told).await?;
    info!(user.id = %user_id, "user {user_id} changed the profile");
    Ok(())
}

#[instrument(name = "read avatar", skip_all, fields(user.id = %user_id))]
pub(crate) async fn read_avatar(core: &Core, user_id: Uuid) -> Result<Vec<u8>, Error> {
    let mut connection = core.database.read().await?;
    avatars::read(&mut connection, user_id).await?.ok_or(Error::AvatarMissing)
}

/// Makes the picture small on a worker of its own, then keeps it.
#[instrument(name = "write avatar", skip_all, fields(user.id = %user_id, picture.kind = ?kind, picture.bytes = picture.len()))]
pub(crate) async fn write_avatar(
    core: &Core,
    user_id: Uuid,
    kind: images::Kind,
    picture: Vec<u8>,
) -> Result<(), Error> {
    let work = core.images.run(info_span!("make avatar"), move || images::avatar(kind, &picture));
    let png = match work.await? {
        Ok(png) => png,
        Err(PictureError::Written(error)) => return Err(Error::Internal(error.into())),
        Err(refused) => return Err(Error::Picture(refused)),
    };
    let now = now();
    let mut transaction = core.database.begin().await?;
    avatars::write(&mut transaction, user_id, png, now).await?;
    audit::note(&mut transaction, Entry::new(Kind::AvatarChanged, user_id, now)).await?;
    core.database.commit(transaction).await?;
    info!(user.id = %user_id, "user {user_id} changed the picture");
    Ok(())
}
