//! Routes for whoever runs a service, as opposed to its customers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};

/// RFC 9457.
const REFUSAL: &str = r#"{"title":"Not an operator","status":401,"detail":"this needs the header `Authorization: Bearer <operator token>`, or without such a setting this machine"}"#;

/// Every route added so far answers only who presents `token` as `Authorization: Bearer …`; without a token, only who asks
/// from this machine, which [`serve`](super::serve()) tells.
pub fn operators_only<S>(router: Router<S>, token: Option<&str>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let token: Option<Arc<str>> = token.map(Arc::from);
    router.route_layer(from_fn(move |request: Request, next: Next| {
        let allowed = match &token {
            Some(token) => presented(request.headers()).is_some_and(|presented| equal(presented, token)),
            None => request.extensions().get::<ConnectInfo<SocketAddr>>().is_some_and(is_here),
        };
        async move { if allowed { next.run(request).await } else { refusal() } }
    }))
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Takes the same time wherever they differ, so that nobody finds a token letter by letter.
fn equal(one: &str, other: &str) -> bool {
    let difference = one.bytes().zip(other.bytes()).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && difference == 0
}

fn is_here(ConnectInfo(peer): &ConnectInfo<SocketAddr>) -> bool {
    peer.ip().to_canonical().is_loopback()
}

fn refusal() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "application/problem+json")], REFUSAL).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn status(token: Option<&str>, presented: Option<&str>, peer: Option<&str>) -> u16 {
        let router = operators_only(Router::new().route("/", get(|| async {})), token);
        let mut request = Request::builder().uri("/");
        if let Some(presented) = presented {
            request = request.header("authorization", format!("Bearer {presented}"));
        }
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().expect("an address");
            request = request.extension(ConnectInfo(peer));
        }
        router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer").status().as_u16()
    }

    #[tokio::test]
    async fn a_token_is_asked_for_where_one_is_set_and_this_machine_where_none_is() {
        let (here, mapped, there) = (Some("127.0.0.1:9"), Some("[::ffff:127.0.0.1]:9"), Some("192.0.2.1:9"));
        assert_eq!(status(Some("let me in"), Some("let me in"), there).await, 200);
        for wrong in [None, Some(""), Some("let me i"), Some("let me in please"), Some("Let me in")] {
            assert_eq!(status(Some("let me in"), wrong, here).await, 401, "{wrong:?}");
        }
        assert_eq!((status(None, None, here).await, status(None, None, mapped).await), (200, 200));
        assert_eq!((status(None, Some("let me in"), there).await, status(None, None, None).await), (401, 401));
    }
}
