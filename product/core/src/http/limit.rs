//! So many requests at a time, so long each, so many from one network that are about passwords; the next one is told to
//! come back instead of making all of them slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::Problem;
use crate::limits::Limits;
use crate::rates::Network;

/// Far above what two cores answer in the time a client waits; each costs some kilobytes.
const REQUESTS_IN_FLIGHT_MAX: usize = 512;
/// Beyond every wait inside of core together, so that only a client that sends slowly meets it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// State of [`admit`].
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX))
}

pub(crate) async fn admit(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_place) = places.try_acquire() else {
        return Problem::busy().into_response();
    };
    let answer = timeout(REQUEST_TIME_MAX, next.run(request)).await;
    answer.unwrap_or_else(|_elapsed| Problem::too_slow().into_response())
}

/// For the operations that somebody can guess with.
pub(crate) async fn admit_network(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(network) = peer.and_then(|ConnectInfo(peer)| Network::of(peer.ip()))
        && let Err(exceeded) = limits.networks.admit(network, Instant::now())
    {
        return Problem::from(exceeded).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use clap::Parser;
    use tower::ServiceExt;

    use super::*;
    use crate::LimitArgs;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        limits: LimitArgs,
    }

    async fn answer(places: usize, handler: impl Future<Output = ()> + Clone + Send + Sync + 'static) -> Response {
        let router = Router::new()
            .route("/", get(async move || handler.await))
            .layer(from_fn_with_state(Arc::new(Semaphore::new(places)), admit));
        router.oneshot(Request::new(Body::empty())).await.unwrap()
    }

    #[tokio::test]
    async fn without_a_place_the_answer_is_to_come_back() {
        assert_eq!(answer(1, std::future::ready(())).await.status(), StatusCode::OK);
        let full = answer(0, std::future::ready(())).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers()["retry-after"], "1");
    }

    #[tokio::test]
    async fn a_network_has_its_share_of_guesses_and_this_machine_needs_none() {
        let mut args = Settings::parse_from(["core"]).limits;
        args.core_network_sign_ins_burst = 2;
        let limits = Arc::new(Limits::new(&args));
        let router = Router::new().route("/", get(async || ())).layer(from_fn_with_state(limits, admit_network));
        let answer = async |peer: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            router.clone().oneshot(request).await.unwrap()
        };
        for peer in ["192.0.2.1:1000", "192.0.2.1:1001", "192.0.2.2:1000", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
        {
            assert_eq!(answer(peer).await.status(), StatusCode::OK, "{peer}");
        }
        let refused = answer("192.0.2.1:1002").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_keeps_a_place_for_ever() {
        assert_eq!(answer(1, Never).await.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[derive(Clone)]
    struct Never;

    impl Future for Never {
        type Output = ();

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }
}
