//! Accounts and sessions. Hashing a password is not here: it costs a core and happens outside of any transaction.

use std::fmt;

use jiff::Timestamp;
use product_bus::database::Dialect;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use uuid::Uuid;

use super::input::Email;
use super::{PRUNED_ROWS_MAX, id, span, time, traced};

/// What proves a session to us; shown to its owner once and never kept.
pub(crate) struct Token(String);

impl Token {
    /// 256 random bits as hex.
    pub(crate) fn generate() -> Result<Token, rand::rand_core::OsError> {
        let mut bytes = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Token(hex::encode(bytes)))
    }

    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The text that the owner presents from now on.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// SHA-256 of a token. A plain hash does: there is nothing to guess in 256 random bits.
#[derive(Clone)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> TokenHash {
        TokenHash(Sha256::digest(token).into())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a login is checked against.
pub(crate) struct Credentials {
    pub(crate) user_id: Uuid,
    pub(crate) display_name: String,
    pub(crate) password_hash: String,
}

pub(crate) struct Session {
    pub(crate) user_id: Uuid,
    pub(crate) expires_at: Timestamp,
}

/// Adds an account with its profile; `None` when the address has one already.
pub(crate) async fn register(
    connection: &mut AnyConnection,
    email: &Email,
    password_hash: &str,
    display_name: &str,
    now: Timestamp,
) -> sqlx::Result<Option<Uuid>> {
    let user_id = Uuid::now_v7();
    let user = sqlx::query(
        "INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING",
    )
    .bind(user_id.to_string())
    .bind(email.as_str())
    .bind(password_hash)
    .bind(now.as_millisecond());
    if traced(span(connection, "INSERT", "users"), user.execute(&mut *connection)).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let profile = sqlx::query("INSERT INTO profiles (user_id, display_name, bio, updated_at) VALUES ($1, $2, '', $3)")
        .bind(user_id.to_string())
        .bind(display_name)
        .bind(now.as_millisecond());
    traced(span(connection, "INSERT", "profiles"), profile.execute(connection)).await?;
    Ok(Some(user_id))
}

pub(crate) async fn credentials(connection: &mut AnyConnection, email: &Email) -> sqlx::Result<Option<Credentials>> {
    let query = sqlx::query(
        "SELECT users.id, users.password_hash, profiles.display_name
         FROM users JOIN profiles ON profiles.user_id = users.id WHERE users.email = $1",
    )
    .bind(email.as_str());
    let row = traced(span(connection, "SELECT", "users"), query.fetch_optional(connection)).await?;
    row.map(|row| {
        Ok(Credentials {
            user_id: id(&row, "id")?,
            display_name: row.try_get("display_name")?,
            password_hash: row.try_get("password_hash")?,
        })
    })
    .transpose()
}

/// Starts a session, and forgets a few that are over.
pub(crate) async fn open_session(
    connection: &mut AnyConnection,
    user_id: Uuid,
    token: &TokenHash,
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<()> {
    let over = sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM sessions WHERE token_hash IN
         (SELECT token_hash FROM sessions WHERE expires_at <= $1 LIMIT $2 {})",
        Dialect::of(connection).skip_locked(),
    )))
    .bind(now.as_millisecond())
    .bind(PRUNED_ROWS_MAX);
    traced(span(connection, "DELETE", "sessions"), over.execute(&mut *connection)).await?;
    let session = sqlx::query("INSERT INTO sessions (token_hash, user_id, expires_at) VALUES ($1, $2, $3)")
        .bind(token.as_bytes())
        .bind(user_id.to_string())
        .bind(expires_at.as_millisecond());
    traced(span(connection, "INSERT", "sessions"), session.execute(connection)).await?;
    Ok(())
}

/// The session of a token, unless there is none or it is over.
pub(crate) async fn session(
    connection: &mut AnyConnection,
    token: &TokenHash,
    now: Timestamp,
) -> sqlx::Result<Option<Session>> {
    let query = sqlx::query("SELECT user_id, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > $2")
        .bind(token.as_bytes())
        .bind(now.as_millisecond());
    let row = traced(span(connection, "SELECT", "sessions"), query.fetch_optional(connection)).await?;
    row.map(|row| Ok(Session { user_id: id(&row, "user_id")?, expires_at: time(&row, "expires_at")? })).transpose()
}

pub(crate) async fn close_session(connection: &mut AnyConnection, token: &TokenHash) -> sqlx::Result<()> {
    let query = sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token.as_bytes());
    traced(span(connection, "DELETE", "sessions"), query.execute(connection)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_eq!(one.reveal().len(), 64);
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(format!("{one:?}"), "Token(…)");
    }

    #[test]
    fn the_hash_of_a_token_is_the_hash_of_its_text() {
        let token = Token::generate().unwrap();
        assert_eq!(token.hash().as_bytes(), TokenHash::of(token.reveal()).as_bytes());
        assert_ne!(token.hash().as_bytes(), token.reveal().as_bytes());
    }
}
