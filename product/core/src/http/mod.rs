//! The API over HTTP: routes, what they accept and how they refuse. Decisions are made in `flows`.

mod accounts;
mod extract;
mod limit;
mod operations;
mod payments;
mod problem;
mod profiles;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::flows::Core;
use problem::Problem;

/// The largest honest body is a profile of a few kilobytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

pub(crate) fn router(core: Core) -> Router {
    let api = Router::new()
        .route("/v1/register", post(accounts::register))
        .route("/v1/login", post(accounts::log_in))
        .route("/v1/logout", post(accounts::log_out))
        .route("/v1/session", get(accounts::session))
        .route("/v1/profile", get(profiles::read).put(profiles::write))
        .route("/v1/payments", get(payments::list).post(payments::create))
        .route("/v1/payments/{id}", get(payments::read))
        .route("/v1/payments/{id}/refund", post(payments::refund))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(limit::places(), limit::admit));
    // Outside of the limit: a core that is full is still healthy, and says so.
    let all = api
        .route("/health", get(operations::health))
        .route("/internal/outbox", get(operations::outbox))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(core);
    observe::http::observed(all)
}
