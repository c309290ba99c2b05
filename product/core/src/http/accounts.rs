//! Register, login, logout, session.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Body, SignedIn};
use super::problem::Problem;
use crate::domain::input::{self, Email, FieldErrors, Password};
use crate::flows::Core;
use crate::flows::accounts::{self, Registration};

#[derive(Deserialize)]
pub(crate) struct RegisterBody {
    email: Option<String>,
    password: Option<String>,
    display_name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct LoginBody {
    email: Option<String>,
    password: Option<String>,
}

pub(crate) async fn register(
    State(core): State<Core>,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let user_id = accounts::register(&core, body.check()?).await?;
    Ok((StatusCode::CREATED, Json(json!({ "user_id": user_id }))))
}

pub(crate) async fn log_in(State(core): State<Core>, Body(body): Body<LoginBody>) -> Result<Json<Value>, Problem> {
    let (email, password) = body.check()?;
    let login = accounts::log_in(&core, email, password).await?;
    Ok(Json(json!({ "token": login.token.reveal(), "expires_at": login.expires_at })))
}

pub(crate) async fn log_out(State(core): State<Core>, signed_in: SignedIn) -> Result<StatusCode, Problem> {
    accounts::log_out(&core, &signed_in.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn session(signed_in: SignedIn) -> Json<Value> {
    Json(json!({ "user_id": signed_in.user_id(), "expires_at": signed_in.session.expires_at }))
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
