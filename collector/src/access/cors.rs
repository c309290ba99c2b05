//! Which web pages may send: browsers ask before they do, and nobody else does.

use std::time::Duration;

use anyhow::Context;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser remembers our answer: longer than a page usually lives, and less than a day until a change is noticed.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// None when no origin was named. Credentials a browser would add by itself (cookies) are never allowed, with `*` or without;
/// a page that has a token sets the header itself.
pub(crate) fn layer(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    let origins = match origins {
        [] => return Ok(None),
        [any] if any == "*" => AllowOrigin::any(),
        some => {
            let parsed = some.iter().map(|origin| header(origin)).collect::<anyhow::Result<Vec<_>>>()?;
            AllowOrigin::list(parsed)
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers([CONTENT_TYPE, CONTENT_ENCODING, AUTHORIZATION])
        .max_age(REMEMBERED);
    Ok(Some(layer))
}

/// As a browser spells it: scheme and host, perhaps a port, no path.
fn header(origin: &str) -> anyhow::Result<HeaderValue> {
    let host = origin.split_once("://").map(|(_, host)| host);
    anyhow::ensure!(
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*'])),
        "--otlp-cors-origins wants origins such as https://shop.example, or * alone, not {origin:?}"
    );
    HeaderValue::from_str(origin).with_context(|| format!("--otlp-cors-origins has {origin:?}, which is no origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(origins: &[&str]) -> bool {
        layer(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>()).is_err()
    }

    #[test]
    fn what_no_browser_would_send_is_refused() {
        assert!(!refused(&["*"]));
        assert!(!refused(&["https://shop.example", "http://localhost:3000"]));
        for wrong in ["shop.example", "https://shop.example/", "https://*.example", ""] {
            assert!(refused(&[wrong]), "{wrong}");
        }
        assert!(refused(&["https://shop.example", "*"]), "a list with * in it reads as if it were narrow");
    }
}
