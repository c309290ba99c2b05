//! Proof that an address belongs to whoever registered it: a token that travels there by mail and comes back.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::Uuid;

use super::accounts::TokenHash;
use super::{id, millis, prune, span, traced};

/// Long enough for a mail that waits over a weekend.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Expects the token back, and forgets a few that never came.
pub(crate) async fn expect(
    connection: &mut AnyConnection,
    user_id: Uuid,
    token: &TokenHash,
    now: Timestamp,
) -> sqlx::Result<()> {
    prune(connection, "verifications", "token_hash", "expires_at", now.as_millisecond()).await?;
    let query = sqlx::query("INSERT INTO verifications (token_hash, user_id, expires_at) VALUES ($1, $2, $3)")
        .bind(token.to_vec())
        .bind(user_id.to_string())
        .bind(now.as_millisecond().saturating_add(millis(KEPT)));
    traced(span(connection, "INSERT", "verifications"), query.execute(connection)).await?;
    Ok(())
}

/// Takes the token and marks its account; `None` when it was never given, was used or is over.
pub(crate) async fn redeem(
    connection: &mut AnyConnection,
    token: &TokenHash,
    now: Timestamp,
) -> sqlx::Result<Option<Uuid>> {
    let taken = sqlx::query("DELETE FROM verifications WHERE token_hash = $1 AND expires_at > $2 RETURNING user_id")
        .bind(token.to_vec())
        .bind(now.as_millisecond());
    let row = traced(span(connection, "DELETE", "verifications"), taken.fetch_optional(&mut *connection)).await?;
    let Some(user_id) = row.map(|row| id(&row, "user_id")).transpose()? else {
        return Ok(None);
    };
    let mark = sqlx::query("UPDATE users SET verified_at = $1 WHERE id = $2")
        .bind(now.as_millisecond())
        .bind(user_id.to_string());
    traced(span(connection, "UPDATE", "users"), mark.execute(connection)).await?;
    Ok(Some(user_id))
}
