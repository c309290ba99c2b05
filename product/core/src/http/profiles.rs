//! The profile of whoever is signed in, and the picture that goes with it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Body, SignedIn};
use super::problem::Problem;
use crate::domain::input::{self, FieldErrors};
use crate::domain::profiles::Profile;
use crate::flows::{Core, profiles};
use crate::images::Kind;

#[derive(Deserialize, ToSchema)]
pub(crate) struct ProfileBody {
    #[schema(value_type = String, min_length = 1, max_length = 80, examples("Ada"))]
    display_name: Option<String>,
    #[schema(max_length = 1_000)]
    bio: Option<String>,
}

/// Read the profile
#[utoipa::path(get, path = "/v1/profile", tag = "profiles", security(("session" = [])),
    responses((status = 200, description = "The profile", body = Profile)))]
pub(crate) async fn read(State(core): State<Core>, signed_in: SignedIn) -> Result<Json<Profile>, Problem> {
    Ok(Json(profiles::read(&core, signed_in.user_id()).await?))
}

/// Write the profile
#[utoipa::path(put, path = "/v1/profile", tag = "profiles", security(("session" = [])), request_body = ProfileBody,
    responses((status = 200, description = "As it is now", body = Profile)))]
pub(crate) async fn write(
    State(core): State<Core>,
    signed_in: SignedIn,
    Body(body): Body<ProfileBody>,
) -> Result<Json<Profile>, Problem> {
    let profile = body.check()?;
    profiles::write(&core, signed_in.user_id(), &profile).await?;
    Ok(Json(profile))
}

/// Read the picture
#[utoipa::path(get, path = "/v1/profile/avatar", tag = "profiles", security(("session" = [])),
    responses(
        (status = 200, description = "128 by 128 pixels", body = Vec<u8>, content_type = "image/png"),
        (status = 404, description = "There is none"),
    ))]
pub(crate) async fn read_avatar(State(core): State<Core>, signed_in: SignedIn) -> Result<impl IntoResponse, Problem> {
    let png = profiles::read_avatar(&core, signed_in.user_id()).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png))
}

/// Change the picture
///
/// At most 1 MiB and 4096 pixels a side. Its middle is kept, small; what the camera wrote beside the pixels is not.
#[utoipa::path(put, path = "/v1/profile/avatar", tag = "profiles", security(("session" = [])),
    request_body(content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"))),
    responses((status = 204, description = "Changed")))]
pub(crate) async fn write_avatar(
    State(core): State<Core>,
    signed_in: SignedIn,
    headers: HeaderMap,
    picture: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| match kind.as_bytes() {
        b"image/png" => Some(Kind::Png),
        b"image/jpeg" => Some(Kind::Jpeg),
        _ => None,
    });
    let kind = kind.ok_or_else(|| Problem::media_type("a picture is sent as image/png or image/jpeg"))?;
    profiles::write_avatar(&core, signed_in.user_id(), kind, picture?.into()).await?;
    Ok(StatusCode::NO_CONTENT)
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
