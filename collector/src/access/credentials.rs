//! What a client presents in `authorization`, as a digest: a secret stays nowhere, and comparing takes the same time wherever
//! two of them differ.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::refusal::Refusal;

#[derive(Clone)]
pub(crate) struct Credentials([u8; 32]);

impl Credentials {
    pub(crate) fn bearer(token: &str) -> Credentials {
        Credentials::digest(b"bearer", token.as_bytes())
    }

    /// Whether a header can carry it as it is; a user and a password are encoded, so anything goes.
    pub(crate) fn is_token(text: &str) -> bool {
        text.trim() == text && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    }

    pub(crate) fn basic(user: &str, password: &str) -> Credentials {
        Credentials::digest(b"basic", format!("{user}:{password}").as_bytes())
    }

    /// From the header, `Bearer <token>` or `Basic <base64 of user:password>`; the scheme in any case.
    pub(crate) fn presented(headers: &HeaderMap) -> Result<Credentials, Refusal> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Err(Refusal::Stranger { why: "no credentials were sent" });
        };
        let unreadable = Refusal::Stranger { why: "the authorization header is neither Bearer nor Basic" };
        let Some((scheme, rest)) = header.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            return Err(unreadable);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Ok(Credentials::bearer(rest.trim())),
            "basic" => match STANDARD.decode(rest.trim()) {
                Ok(pair) => Ok(Credentials::digest(b"basic", &pair)),
                Err(_) => Err(Refusal::Stranger { why: "the Basic credentials are not base64" }),
            },
            _ => Err(unreadable),
        }
    }

    pub(crate) fn equal(&self, other: &Credentials) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }

    fn digest(scheme: &[u8], secret: &[u8]) -> Credentials {
        Credentials(Sha256::new().chain_update(scheme).chain_update(b"\0").chain_update(secret).finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn presented(header: &str) -> Result<Credentials, Refusal> {
        let header = HeaderValue::from_str(header).expect("a header is visible text");
        Credentials::presented(&HeaderMap::from_iter([(AUTHORIZATION, header)]))
    }

    #[test]
    fn both_schemes_are_understood_and_are_two_things() {
        let Ok(bearer) = presented("bearer  let-me-in ") else { panic!("a token is understood") };
        assert!(bearer.equal(&Credentials::bearer("let-me-in")));
        assert!(!bearer.equal(&Credentials::bearer("let-me-i")));
        let Ok(basic) = presented("BASIC dXNlcjpwYTpzcw==") else { panic!("user and password are understood") };
        assert!(basic.equal(&Credentials::basic("user", "pa:ss")));
        assert!(!basic.equal(&Credentials::bearer("user:pa:ss")));
    }

    #[test]
    fn anything_else_is_a_stranger() {
        for header in ["", "let-me-in", "Digest username=x", "Basic ***", "Bearer"] {
            assert!(matches!(presented(header), Err(Refusal::Stranger { .. })), "{header}");
        }
        assert!(matches!(Credentials::presented(&HeaderMap::new()), Err(Refusal::Stranger { .. })));
    }
}
