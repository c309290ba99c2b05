//! So many requests at a time; the next one is told to come back instead of making all of them slow.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::problem::Problem;

/// Far above what two cores answer in the time a client waits; each costs some kilobytes.
const REQUESTS_IN_FLIGHT_MAX: usize = 512;

/// State of [`admit`].
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX))
}

pub(crate) async fn admit(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_full) => Problem::busy().into_response(),
    }
}
