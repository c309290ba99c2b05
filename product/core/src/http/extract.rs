//! What handlers receive: a JSON body, who is asking, and the key of a write.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::problem::Problem;
use crate::domain::accounts::{Session, TokenHash};
use crate::flows::{Core, accounts};

const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A JSON body of the right shape; whether its values make sense is the handler's question.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// The query string.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::from_request_parts(parts, state).await?;
        Ok(Self(asked))
    }
}

/// A user with a session.
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) token: TokenHash,
}

impl SignedIn {
    pub(crate) fn user_id(&self) -> Uuid {
        self.session.user_id
    }
}

impl FromRequestParts<Core> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, Problem> {
        let token = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| TokenHash::of(token.trim()))
            .ok_or_else(Problem::not_signed_in)?;
        match accounts::session(core, &token).await? {
            Some(session) => Ok(Self { session, token }),
            None => Err(Problem::not_signed_in()),
        }
    }
}

/// The header that makes repeating a write harmless.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let value = parts
            .headers
            .get("idempotency-key")
            .ok_or_else(|| Problem::header("this needs the header Idempotency-Key, a new value for each payment"))?;
        match value.to_str() {
            Ok(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Self(key.to_owned())),
            _ => Err(Problem::header("Idempotency-Key must be 1 to 255 visible ASCII characters")),
        }
    }
}
