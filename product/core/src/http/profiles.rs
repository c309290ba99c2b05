//! The profile of whoever is signed in.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::extract::{Body, SignedIn};
use super::problem::Problem;
use crate::domain::input::{self, FieldErrors};
use crate::domain::profiles::Profile;
use crate::flows::{Core, profiles};

#[derive(Deserialize)]
pub(crate) struct ProfileBody {
    display_name: Option<String>,
    bio: Option<String>,
}

pub(crate) async fn read(State(core): State<Core>, signed_in: SignedIn) -> Result<Json<Profile>, Problem> {
    Ok(Json(profiles::read(&core, signed_in.user_id()).await?))
}

pub(crate) async fn write(
    State(core): State<Core>,
    signed_in: SignedIn,
    Body(body): Body<ProfileBody>,
) -> Result<Json<Profile>, Problem> {
    let profile = body.check()?;
    profiles::write(&core, signed_in.user_id(), &profile).await?;
    Ok(Json(profile))
}

impl ProfileBody {
    fn check(self) -> Result<Profile, Problem> {
        let mut errors = FieldErrors::default();
        let display_name = errors.check("display_name", input::display_name(self.display_name));
        let bio = errors.check("bio", input::bio(self.bio));
        match (display_name, bio) {
            (Some(display_name), Some(bio)) => Ok(Profile { display_name, bio }),
            _ => Err(Problem::fields(errors)),
        }
    }
}
