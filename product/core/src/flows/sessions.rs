//! What a session is good for, its next pair of tokens, its end.

use tracing::{info, instrument, warn};
use uuid::Uuid;

use super::{Core, Error};
use crate::domain::accounts::{Token, TokenHash};
use crate::domain::audit::{self, Entry, Kind};
use crate::domain::now;
use crate::domain::sessions::{self, Owner, Pair, Session, Shown};

/// The session that an access token stands for; `None` when it never was one or is over.
pub(crate) async fn find(core: &Core, token: &TokenHash) -> Result<Option<Session>, Error> {
    let mut connection = core.database.read().await?;
    Ok(sessions::find(&mut connection, token, now()).await?)
}

/// Two new tokens, not yet in the database.
pub(super) fn pair(core: &Core, now: jiff::Timestamp) -> Result<Pair, Error> {
    let new = || Token::generate().map_err(|error| Error::Internal(error.into()));
    let after = |lifetime| now.checked_add(lifetime).map_err(|error| Error::Internal(error.into()));
    Ok(Pair {
        access: new()?,
        access_expires_at: after(core.session_lifetime)?,
        refresh: new()?,
        refresh_expires_at: after(core.refresh_lifetime)?,
    })
}

/// The next pair for a refresh token that was not shown before.
#[instrument(skip_all)]
pub(crate) async fn refresh(core: &Core, token: &TokenHash) -> Result<Pair, Error> {
    let now = now();
    let pair = pair(core, now)?;
    let mut transaction = core.database.begin().await?;
    match sessions::show(&mut transaction, token, now).await? {
        Shown::Unknown => Err(Error::SessionOver),
        Shown::First(owner) => {
            sessions::open(&mut transaction, owner, &pair, now).await?;
            audit::note(&mut transaction, entry(Kind::Refreshed, owner, now)).await?;
            core.database.commit(transaction).await?;
            Ok(pair)
        }
        Shown::Again(owner) => {
            sessions::revoke(&mut transaction, owner.family).await?;
            audit::note(&mut transaction, entry(Kind::RefreshReused, owner, now)).await?;
            core.database.commit(transaction).await?;
            let user_id = owner.user_id;
            warn!(user.id = %user_id, "a refresh token of user {user_id} came twice; the sessions of its login are over");
            Err(Error::SessionOver)
        }
    }
}

/// Ends the session and all that came from the same login.
#[instrument(name = "log out", skip_all, fields(user.id = %user_id))]
pub(crate) async fn log_out(core: &Core, user_id: Uuid, token: &TokenHash) -> Result<(), Error> {
    let mut transaction = core.database.begin().await?;
    sessions::close(&mut transaction, token).await?;
    audit::note(&mut transaction, Entry::new(Kind::LoggedOut, user_id, now())).await?;
    core.database.commit(transaction).await?;
    info!(user.id = %user_id, "user {user_id} logged out");
    Ok(())
}

fn entry(kind: Kind, owner: Owner, now: jiff::Timestamp) -> Entry {
    Entry { detail: Some(owner.family), ..Entry::new(kind, owner.user_id, now) }
}
