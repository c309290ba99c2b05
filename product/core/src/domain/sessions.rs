//! Sessions: an access token that is shown with each request, and a refresh token that is shown once, for the next pair.
//!
//! All pairs that follow from one login are a family. A refresh token that comes twice was stolen from somebody,
//! and nobody can tell from whom: the whole family ends.

use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::accounts::{Token, TokenHash};
use super::{id, prune, span, time, traced};

/// What a client is handed; the only time that either is seen.
pub(crate) struct Pair {
    pub(crate) access: Token,
    pub(crate) access_expires_at: Timestamp,
    pub(crate) refresh: Token,
    pub(crate) refresh_expires_at: Timestamp,
}

pub(crate) struct Session {
    pub(crate) user_id: Uuid,
    pub(crate) expires_at: Timestamp,
}

/// Whose pair it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) user_id: Uuid,
    pub(crate) family: Uuid,
}

/// What became of a refresh token that was shown.
pub(crate) enum Shown {
    /// Nobody's, or too old.
    Unknown,
    /// It is used up now; its owner gets the next pair.
    First(Owner),
    Again(Owner),
}

/// Starts a session, and forgets a few that are over.
pub(crate) async fn open(
    connection: &mut AnyConnection,
    owner: Owner,
    pair: &Pair,
    now: Timestamp,
) -> sqlx::Result<()> {
    for table in ["sessions", "refresh_tokens"] {
        prune(connection, table, "token_hash", "expires_at", now.as_millisecond()).await?;
    }
    let access = sqlx::query("INSERT INTO sessions (token_hash, user_id, family, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(pair.access.hash().to_vec())
        .bind(owner.user_id.to_string())
        .bind(owner.family.to_string())
        .bind(pair.access_expires_at.as_millisecond());
    traced(span(connection, "INSERT", "sessions"), access.execute(&mut *connection)).await?;
    let refresh =
        sqlx::query("INSERT INTO refresh_tokens (token_hash, user_id, family, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(pair.refresh.hash().to_vec())
            .bind(owner.user_id.to_string())
            .bind(owner.family.to_string())
            .bind(pair.refresh_expires_at.as_millisecond());
    traced(span(connection, "INSERT", "refresh_tokens"), refresh.execute(connection)).await?;
    Ok(())
}

/// The session of an access token, unless there is none or it is over.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    token: &TokenHash,
    now: Timestamp,
) -> sqlx::Result<Option<Session>> {
    let query = sqlx::query("SELECT user_id, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > $2")
        .bind(token.to_vec())
        .bind(now.as_millisecond());
    let row = traced(span(connection, "SELECT", "sessions"), query.fetch_optional(connection)).await?;
    row.map(|row| Ok(Session { user_id: id(&row, "user_id")?, expires_at: time(&row, "expires_at")? })).transpose()
}

/// Uses a refresh token up. Of two who show the same one at once, one is first.
pub(crate) async fn show(connection: &mut AnyConnection, token: &TokenHash, now: Timestamp) -> sqlx::Result<Shown> {
    let used = sqlx::query(
        "UPDATE refresh_tokens SET used_at = $1 WHERE token_hash = $2 AND expires_at > $3 AND used_at IS NULL
         RETURNING user_id, family",
    )
    .bind(now.as_millisecond())
    .bind(token.to_vec())
    .bind(now.as_millisecond());
    if let Some(row) =
        traced(span(connection, "UPDATE", "refresh_tokens"), used.fetch_optional(&mut *connection)).await?
    {
        return Ok(Shown::First(owner(&row)?));
    }
    let known = sqlx::query("SELECT user_id, family FROM refresh_tokens WHERE token_hash = $1 AND used_at IS NOT NULL")
        .bind(token.to_vec());
    let row = traced(span(connection, "SELECT", "refresh_tokens"), known.fetch_optional(connection)).await?;
    row.map_or(Ok(Shown::Unknown), |row| Ok(Shown::Again(owner(&row)?)))
}

/// Ends every session that came from the same login.
pub(crate) async fn revoke(connection: &mut AnyConnection, family: Uuid) -> sqlx::Result<()> {
    for (table, statement) in [
        ("sessions", "DELETE FROM sessions WHERE family = $1"),
        ("refresh_tokens", "DELETE FROM refresh_tokens WHERE family = $1"),
    ] {
        let query = sqlx::query(statement).bind(family.to_string());
        traced(span(connection, "DELETE", table), query.execute(&mut *connection)).await?;
    }
    Ok(())
}

/// Ends the session of an access token with its family.
pub(crate) async fn close(connection: &mut AnyConnection, token: &TokenHash) -> sqlx::Result<()> {
    let query = sqlx::query("SELECT family FROM sessions WHERE token_hash = $1").bind(token.to_vec());
    let row = traced(span(connection, "SELECT", "sessions"), query.fetch_optional(&mut *connection)).await?;
    match row {
        Some(row) => revoke(connection, id(&row, "family")?).await,
        None => Ok(()),
    }
}

fn owner(row: &AnyRow) -> sqlx::Result<Owner> {
    Ok(Owner { user_id: id(row, "user_id")?, family: id(row, "family")? })
}
