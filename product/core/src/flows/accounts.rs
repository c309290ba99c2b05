//! Register, log in, log out.

use jiff::Timestamp;
use tracing::{Span, field, info, instrument, warn};
use uuid::Uuid;

use super::{Core, Error, tell};
use crate::domain::accounts::{self, Session, Token, TokenHash};
use crate::domain::input::{Email, Password};
use crate::domain::{events, now};

pub(crate) struct Registration {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) display_name: String,
}

pub(crate) struct Login {
    pub(crate) token: Token,
    pub(crate) expires_at: Timestamp,
}

#[instrument(skip_all, fields(user.id = field::Empty))]
pub(crate) async fn register(core: &Core, registration: Registration) -> Result<Uuid, Error> {
    let Registration { email, password, display_name } = registration;
    let password_hash = core.passwords.hash(password).await.inspect_err(|_| core.metrics.registration("refused"))?;
    let now = now();
    let mut transaction = core.database.begin().await?;
    let Some(user_id) = accounts::register(&mut transaction, &email, &password_hash, &display_name, now).await? else {
        core.metrics.registration("email_taken");
        return Err(Error::EmailTaken);
    };
    let event = events::user_registered(user_id, &display_name, now);
    tell(&mut transaction, events::USERS, &event).await?;
    core.commit(transaction).await?;

    Span::current().record("user.id", field::display(user_id));
    core.metrics.registration("registered");
    info!(user.id = %user_id, "user {user_id} registered");
    Ok(user_id)
}

#[instrument(name = "log in", skip_all, fields(user.id = field::Empty))]
pub(crate) async fn log_in(core: &Core, email: Email, password: Password) -> Result<Login, Error> {
    let credentials = {
        let mut connection = core.database.read().await?;
        accounts::credentials(&mut connection, &email).await?
    }; // No connection is held while hashing: that takes longer than all the statements together.
    let hash = credentials.as_ref().map(|found| found.password_hash.clone());
    let right = core.passwords.verify(password, hash).await.inspect_err(|_| core.metrics.login("refused"))?;
    let Some(user) = credentials.filter(|_| right) else {
        core.metrics.login("wrong_credentials");
        warn!("a login was refused: wrong e-mail address or password");
        return Err(Error::WrongCredentials);
    };
    Span::current().record("user.id", field::display(user.user_id));

    let now = now();
    let token = Token::generate().map_err(|error| Error::Internal(error.into()))?;
    let expires_at = now.checked_add(core.session_lifetime).map_err(|error| Error::Internal(error.into()))?;
    let mut transaction = core.database.begin().await?;
    accounts::open_session(&mut transaction, user.user_id, &token.hash(), now, expires_at).await?;
    let event = events::user_logged_in(user.user_id, &user.display_name, now);
    tell(&mut transaction, events::USERS, &event).await?;
    core.commit(transaction).await?;

    core.metrics.login("logged_in");
    info!(user.id = %user.user_id, "user {} logged in", user.user_id);
    Ok(Login { token, expires_at })
}

/// The session that a token stands for; `None` when it never was one or is over.
pub(crate) async fn session(core: &Core, token: &TokenHash) -> Result<Option<Session>, Error> {
    let mut connection = core.database.read().await?;
    Ok(accounts::session(&mut connection, token, now()).await?)
}

#[instrument(name = "log out", skip_all)]
pub(crate) async fn log_out(core: &Core, token: &TokenHash) -> Result<(), Error> {
    let mut transaction = core.database.begin().await?;
    accounts::close_session(&mut transaction, token).await?;
    core.database.commit(transaction).await?;
    Ok(())
}
