//! What handlers receive: a JSON body, who is asking, and the key of a write.

use std::time::Instant;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::problem::Problem;
use crate::domain::accounts::TokenHash;
use crate::domain::sessions::Session;
use crate::flows::{Core, sessions};

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

/// What stands in the one place of the path that is open.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segment = Path::from_request_parts(parts, state).await;
        // What is no text is the name of nothing.
        segment.map(|Path(segment)| Self(segment)).map_err(|_| Problem::no_route())
    }
}

/// The id in the path; none when what stands there is no id at all, which is then no id of anything of ours.
pub(crate) struct Id(pub(crate) Option<Uuid>);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Segment(text) = Segment::from_request_parts(parts, state).await?;
        Ok(Self(Uuid::parse_str(&text).ok()))
    }
}

/// A user with a session, within what one account may ask for.
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
        let token = bearer(parts).map(TokenHash::of).ok_or_else(Problem::not_signed_in)?;
        let session = sessions::find(core, &token).await?.ok_or_else(Problem::not_signed_in)?;
        core.limits.accounts.admit(session.user_id, Instant::now())?;
        Ok(Self { session, token })
    }
}

/// What is presented as `Authorization: Bearer …`.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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
