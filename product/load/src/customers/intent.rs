//! What a customer is about to do, and what that takes.

use std::sync::Arc;

use super::names::Name;
use super::plan::Endpoint;

/// Proof of being signed in, or of the right to go on. No `Debug`: it must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Arc<str>);

impl Token {
    pub(super) fn new(text: &str) -> Token {
        Token(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// What a login gives.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) token: Token,
    /// For one new pair; none from a core that gives none.
    pub(super) refresh: Option<Token>,
}

/// Place of a customer in the population.
pub(super) type Customer = usize;

/// One request that can be made now.
pub(super) struct Intent {
    pub(super) customer: Customer,
    pub(super) name: Name,
    pub(super) errand: Errand,
}

pub(super) enum Errand {
    Register,
    LogIn,
    LogOut(Token),
    /// The session as it was, and its refresh token.
    Refresh(Session, Token),
    Session(Token),
    ReadProfile(Token),
    WriteProfile(Token),
    ReadAvatar(Token),
    WriteAvatar(Token),
    Pay(Token),
    Authorize(Token),
    Capture(Token, String),
    ReadPayment(Token, String),
    ListPayments(Token),
    Refund(Token, String),
}

impl Errand {
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Errand::Register => Endpoint::Register,
            Errand::LogIn => Endpoint::LogIn,
            Errand::LogOut(_) => Endpoint::LogOut,
            Errand::Refresh(..) => Endpoint::Refresh,
            Errand::Session(_) => Endpoint::Session,
            Errand::ReadProfile(_) => Endpoint::ReadProfile,
            Errand::WriteProfile(_) => Endpoint::WriteProfile,
            Errand::ReadAvatar(_) => Endpoint::ReadAvatar,
            Errand::WriteAvatar(_) => Endpoint::WriteAvatar,
            Errand::Pay(_) => Endpoint::Pay,
            Errand::Authorize(_) => Endpoint::Authorize,
            Errand::Capture(..) => Endpoint::Capture,
            Errand::ReadPayment(..) => Endpoint::ReadPayment,
            Errand::ListPayments(_) => Endpoint::ListPayments,
            Errand::Refund(..) => Endpoint::Refund,
        }
    }
}

/// What can be done with a payment, beyond reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Capture,
    Refund,
    /// Done for good, or asked for and not answered yet.
    Nothing,
}

impl Open {
    /// By the status that core tells.
    pub(super) fn after(status: &str) -> Open {
        match status {
            "authorized" => Open::Capture,
            "captured" => Open::Refund,
            _ => Open::Nothing,
        }
    }
}
