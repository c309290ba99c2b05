//! Whoever runs core, as opposed to its customers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

use super::extract::bearer;
use super::problem::Problem;
use crate::flows::Core;

/// What operators present. Only its hash is kept, which also makes comparing it take the same time for every guess.
#[derive(Clone)]
pub(crate) struct OperatorToken(Arc<[u8; 32]>);

impl OperatorToken {
    pub(crate) fn new(token: &str) -> OperatorToken {
        OperatorToken(Arc::new(Sha256::digest(token).into()))
    }

    fn is(&self, token: &str) -> bool {
        Sha256::digest(token).as_slice() == self.0.as_slice()
    }
}

/// Somebody with the operator's token. Where none is set: somebody on this machine.
pub(crate) struct Operator;

impl FromRequestParts<Core> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, Problem> {
        let allowed = match &core.operator_token {
            Some(token) => bearer(parts).is_some_and(|presented| token.is(presented)),
            None => {
                let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
                peer.is_some_and(|ConnectInfo(address)| address.ip().to_canonical().is_loopback())
            }
        };
        if allowed { Ok(Operator) } else { Err(Problem::not_operator()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = OperatorToken::new("let me in");
        assert!(token.is("let me in"));
        assert!(!token.is("let me in ") && !token.is(""));
    }
}
