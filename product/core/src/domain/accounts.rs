//! Accounts, and the tokens that stand for them. Hashing a password is not here: it costs a core and happens outside of any transaction.

use std::fmt;

use jiff::Timestamp;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::input::Email;
use super::{id, span, traced};

/// What proves something to us; shown to its owner once and never kept.
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

    /// As the database takes it.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

/// What a login is checked against.
pub(crate) struct Credentials {
    pub(crate) user_id: Uuid,
    pub(crate) display_name: String,
    pub(crate) password_hash: String,
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
        assert_eq!(token.hash().to_vec(), TokenHash::of(token.reveal()).to_vec());
        assert_ne!(token.hash().to_vec(), token.reveal().as_bytes());
    }
}
