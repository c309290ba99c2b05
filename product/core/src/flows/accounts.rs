//! Register, verify, log in.

use tracing::{Span, field, info, instrument, warn};
use uuid::Uuid;

use super::{Core, Error};
use crate::domain::accounts::{self, Token, TokenHash};
use crate::domain::audit::{self, Entry, Kind};
use crate::domain::input::{Email, Password};
use crate::domain::sessions::{self, Owner, Pair};
use crate::domain::{events, lockout, now, verification};

pub(crate) struct Registration {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) display_name: String,
}

#[instrument(skip_all, fields(user.id = field::Empty))]
pub(crate) async fn register(core: &Core, registration: Registration) -> Result<Uuid, Error> {
    let Registration { email, password, display_name } = registration;
    let password_hash = core.passwords.hash(password).await.inspect_err(|_| core.metrics.registration("refused"))?;
    let token = Token::generate().map_err(|error| Error::Internal(error.into()))?;
    let now = now();
    let mut transaction = core.database.begin().await?;
    let Some(user_id) = accounts::register(&mut transaction, &email, &password_hash, &display_name, now).await? else {
        core.metrics.registration("email_taken");
        return Err(Error::EmailTaken);
    };
    verification::expect(&mut transaction, user_id, &token.hash(), now).await?;
    let event = events::user_registered(user_id, &display_name, &token, now);
    let entry = Entry { id: event.id, ..Entry::new(Kind::Registered, user_id, now) };
    audit::note(&mut transaction, entry).await?;
    let told = core.tell(&mut transaction, events::USERS, user_id, event).await?;
    core.commit(transaction, told).await?;

    Span::current().record("user.id", field::display(user_id));
    core.metrics.registration("registered");
    info!(user.id = %user_id, "user {user_id} registered");
    Ok(user_id)
}

/// Takes the token of the mail; false when it is none, or none any more.
#[instrument(skip_all, fields(user.id = field::Empty))]
pub(crate) async fn verify(core: &Core, token: &TokenHash) -> Result<bool, Error> {
    let now = now();
    let mut transaction = core.database.begin().await?;
    let Some(user_id) = verification::redeem(&mut transaction, token, now).await? else {
        return Ok(false);
    };
    audit::note(&mut transaction, Entry::new(Kind::Verified, user_id, now)).await?;
    core.database.commit(transaction).await?;
    Span::current().record("user.id", field::display(user_id));
    info!(user.id = %user_id, "user {user_id} proved the address");
    Ok(true)
}

/// An address without an account takes the same way, the same statements and the same time as one with a wrong password.
#[instrument(name = "log in", skip_all, fields(user.id = field::Empty))]
pub(crate) async fn log_in(core: &Core, email: Email, password: Password) -> Result<Pair, Error> {
    let policy = core.limits.lockout;
    let credentials = {
        let mut connection = core.database.read().await?;
        if let Some(remaining) = lockout::remaining(&mut connection, policy, &email, now()).await? {
            core.metrics.login("locked");
            return Err(Error::Locked(remaining));
        }
        accounts::credentials(&mut connection, &email).await?
    }; // No connection is held while hashing: that takes longer than all the statements together.
    let hash = credentials.as_ref().map(|found| found.password_hash.clone());
    let right = core.passwords.verify(password, hash).await.inspect_err(|_| core.metrics.login("refused"))?;

    let now = now();
    let mut transaction = core.database.begin().await?;
    // Others may have guessed wrong while this one was looked at: a burst does not get more guesses than a row.
    if let Some(remaining) = lockout::remaining(&mut transaction, policy, &email, now).await? {
        core.metrics.login("locked");
        return Err(Error::Locked(remaining));
    }
    let Some(user) = credentials.as_ref().filter(|_| right) else {
        let user_id = credentials.map(|user| user.user_id);
        audit::note(&mut transaction, Entry::new(Kind::LoginFailed, user_id, now)).await?;
        if lockout::failed(&mut transaction, policy, &email, now).await? {
            audit::note(&mut transaction, Entry::new(Kind::Locked, user_id, now)).await?;
        }
        core.database.commit(transaction).await?;
        core.metrics.login("wrong_credentials");
        warn!("a login was refused: wrong e-mail address or password");
        return Err(Error::WrongCredentials);
    };

    let user_id = user.user_id;
    Span::current().record("user.id", field::display(user_id));
    lockout::forget(&mut transaction, &email).await?;
    let pair = super::sessions::pair(core, now)?;
    let owner = Owner { user_id, family: Uuid::now_v7() };
    sessions::open(&mut transaction, owner, &pair, now).await?;
    let event = events::user_logged_in(user_id, &user.display_name, now);
    let entry = Entry { id: event.id, ..Entry::new(Kind::LoggedIn, user_id, now) };
    audit::note(&mut transaction, entry).await?;
    let told = core.tell(&mut transaction, events::USERS, user.user_id, event).await?;
    core.commit(transaction, told).await?;

    core.metrics.login("logged_in");
    info!(user.id = %user_id, "user {user_id} logged in");
    Ok(pair)
}
