//! The API over HTTP: routes, what they accept and how they refuse. Decisions are made in `flows`.

mod accounts;
mod analytics;
mod docs;
mod exports;
mod extract;
mod faults;
mod headers;
mod limit;
mod modes;
mod openapi;
mod operations;
mod operator;
mod payments;
mod problem;
mod profiles;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::flows::Core;
pub(crate) use operator::OperatorToken;
use problem::Problem;

/// The largest honest body is a profile of a few kilobytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A picture of a phone, made smaller by the app; what it unpacks to is limited in `images`.
const PICTURE_BYTES_MAX: usize = 1024 * 1024;

/// Fails only if the description of the API cannot be written, which is a bug.
pub(crate) fn router(core: Core) -> anyhow::Result<Router> {
    let sign_in = OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::verify))
        .routes(routes!(accounts::log_in))
        .routes(routes!(accounts::refresh))
        .layer(from_fn_with_state(core.limits.clone(), limit::admit_network));
    let pictures = OpenApiRouter::new()
        .routes(routes!(profiles::read_avatar, profiles::write_avatar))
        .layer(DefaultBodyLimit::max(PICTURE_BYTES_MAX));
    let api = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(sign_in)
        .routes(routes!(accounts::log_out))
        .routes(routes!(accounts::session))
        .routes(routes!(profiles::read, profiles::write))
        .merge(pictures)
        .routes(routes!(payments::list, payments::create))
        .routes(routes!(payments::read))
        .routes(routes!(payments::capture))
        .routes(routes!(payments::refund))
        .routes(routes!(exports::request))
        .routes(routes!(exports::read))
        .routes(routes!(analytics::report))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(limit::places(), limit::admit))
        // Outside of the limit: a core that is full is still healthy, and says so.
        .routes(routes!(operations::health))
        .routes(routes!(operations::outbox))
        .routes(routes!(operations::ledger))
        .routes(routes!(modes::read))
        .routes(routes!(modes::change))
        .routes(routes!(modes::mismatches))
        .routes(routes!(modes::effects));
    let (all, description) = api.split_for_parts();
    let all = all
        .merge(openapi::routes(&description)?)
        .route("/internal/faults", axum::routing::post(faults::start).delete(faults::end))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(headers::secure))
        .with_state(core);
    Ok(observe::http::observed(all))
}
