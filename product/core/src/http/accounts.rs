//! Register, verify, log in, refresh, log out, session.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Body, SignedIn};
use super::problem::Problem;
use crate::domain::accounts::TokenHash;
use crate::domain::input::{self, Email, FieldErrors, Password};
use crate::domain::sessions::Pair;
use crate::flows::accounts::{self, Registration};
use crate::flows::{Core, sessions};

#[derive(Deserialize, ToSchema)]
pub(crate) struct RegisterBody {
    #[schema(value_type = String, format = Email, max_length = 254, examples("ada@example.org"))]
    email: Option<String>,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    password: Option<String>,
    #[schema(value_type = String, min_length = 1, max_length = 80, examples("Ada"))]
    display_name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct LoginBody {
    #[schema(value_type = String, format = Email, max_length = 254, examples("ada@example.org"))]
    email: Option<String>,
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 256)]
    password: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct RefreshBody {
    #[schema(value_type = String, min_length = 1)]
    refresh_token: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct VerifyBody {
    #[schema(value_type = String, min_length = 1)]
    token: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    user_id: Uuid,
}

// No `Debug`: it holds the tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// For `Authorization: Bearer …`.
    token: String,
    expires_at: Timestamp,
    /// For the next pair, once. Showing it twice ends all sessions of this login.
    refresh_token: String,
    refresh_expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionOf {
    user_id: Uuid,
    expires_at: Timestamp,
}

/// Register
///
/// A mail with a token for `/v1/verify` goes to the address. That an address is taken is no secret here: whoever may
/// sign in at once learns it anyway. Signing in tells nothing.
#[utoipa::path(post, path = "/v1/register", tag = "accounts", request_body = RegisterBody,
    responses(
        (status = 201, description = "Registered", body = Registered),
        (status = 409, description = "The address has an account"),
    ))]
pub(crate) async fn register(
    State(core): State<Core>,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    let user_id = accounts::register(&core, body.check()?).await?;
    Ok((StatusCode::CREATED, Json(Registered { user_id })))
}

/// Prove that the address is one's own
///
/// With the token of the mail; each works once.
#[utoipa::path(post, path = "/v1/verify", tag = "accounts", request_body = VerifyBody,
    responses((status = 204, description = "Proven")))]
pub(crate) async fn verify(State(core): State<Core>, Body(body): Body<VerifyBody>) -> Result<StatusCode, Problem> {
    let token = token("token", body.token)?;
    match accounts::verify(&core, &token).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::field("token", "is unknown, used or too old")),
    }
}

/// Sign in
///
/// Too many wrong passwords lock an address for a while, whether it has an account or not.
#[utoipa::path(post, path = "/v1/login", tag = "accounts", request_body = LoginBody,
    responses(
        (status = 200, description = "Signed in", body = Tokens),
        (status = 401, description = "Wrong address or password"),
    ))]
pub(crate) async fn log_in(State(core): State<Core>, Body(body): Body<LoginBody>) -> Result<Json<Tokens>, Problem> {
    let (email, password) = body.check()?;
    Ok(Json(accounts::log_in(&core, email, password).await?.into()))
}

/// Get the next pair of tokens
#[utoipa::path(post, path = "/v1/refresh", tag = "accounts", request_body = RefreshBody,
    responses(
        (status = 200, description = "The next pair", body = Tokens),
        (status = 401, description = "Unknown, too old, or shown before"),
    ))]
pub(crate) async fn refresh(State(core): State<Core>, Body(body): Body<RefreshBody>) -> Result<Json<Tokens>, Problem> {
    let token = token("refresh_token", body.refresh_token)?;
    Ok(Json(sessions::refresh(&core, &token).await?.into()))
}

/// Sign out
///
/// Ends all sessions that came from the same login.
#[utoipa::path(post, path = "/v1/logout", tag = "accounts", security(("session" = [])),
    responses((status = 204, description = "Signed out")))]
pub(crate) async fn log_out(State(core): State<Core>, signed_in: SignedIn) -> Result<StatusCode, Problem> {
    sessions::log_out(&core, signed_in.user_id(), &signed_in.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is signed in
#[utoipa::path(get, path = "/v1/session", tag = "accounts", security(("session" = [])),
    responses((status = 200, description = "Whose session it is", body = SessionOf)))]
pub(crate) async fn session(signed_in: SignedIn) -> Json<SessionOf> {
    Json(SessionOf { user_id: signed_in.user_id(), expires_at: signed_in.session.expires_at })
}

impl RegisterBody {
    fn check(self) -> Result<Registration, Problem> {
        let mut errors = FieldErrors::default();
        let email = errors.check("email", Email::parse(self.email));
        let password = errors.check("password", Password::chosen(self.password));
        let display_name = errors.check("display_name", input::display_name(self.display_name));
        match (email, password, display_name) {
            (Some(email), Some(password), Some(display_name)) => Ok(Registration { email, password, display_name }),
            _ => Err(Problem::fields(errors)),
        }
    }
}

impl LoginBody {
    fn check(self) -> Result<(Email, Password), Problem> {
        let mut errors = FieldErrors::default();
        let email = errors.check("email", Email::parse(self.email));
        let password = errors.check("password", Password::attempted(self.password));
        email.zip(password).ok_or_else(|| Problem::fields(errors))
    }
}

/// What is no token at all is nobody's token either: nothing more is to be said about its form.
fn token(field: &'static str, text: Option<String>) -> Result<TokenHash, Problem> {
    text.map(|text| TokenHash::of(&text)).ok_or_else(|| Problem::field(field, "is required"))
}

impl From<Pair> for Tokens {
    fn from(pair: Pair) -> Tokens {
        Tokens {
            token: pair.access.reveal().to_owned(),
            expires_at: pair.access_expires_at,
            refresh_token: pair.refresh.reveal().to_owned(),
            refresh_expires_at: pair.refresh_expires_at,
        }
    }
}
