//! An answer of core, whole: its latency ends with its last byte, not with its first.

use std::io;

use bytes::{Bytes, BytesMut};
use observe::http::{Response, StatusCode};
use serde::de::DeserializeOwned;

/// Core's largest answers are pages of twenty payments and avatars, some tens of kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// No `Debug`: it may hold a token.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Bytes,
}

/// Why a request counts as failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer")]
    Exchange(#[from] observe::http::Error),
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("answered {status} with what nobody understands")]
    Unreadable { status: StatusCode, source: serde_json::Error },
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong(StatusCode),
    #[error("could not write the ledger")]
    Ledger(#[from] io::Error),
}

impl Answer {
    /// Reads `response` to its end. A refusal is a failure with its status.
    pub(super) async fn whole(mut response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLong(status));
            }
            body.extend_from_slice(&chunk);
        }
        match status.is_success() {
            true => Ok(Answer { status, body: body.freeze() }),
            false => Err(Failure::Refused(status)),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|source| Failure::Unreadable { status: self.status, source })
    }
}

impl Failure {
    /// Of the last answer; 0 when there was none.
    pub(super) fn status(&self) -> u16 {
        match self {
            Failure::Refused(status) | Failure::Unreadable { status, .. } | Failure::TooLong(status) => status.as_u16(),
            Failure::Exchange(_) | Failure::Ledger(_) => 0,
        }
    }

    /// Whether the same request may get another answer a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failure::Exchange(_) | Failure::Unreadable { .. } => true,
            // 409: an earlier attempt with this key is still under way.
            Failure::Refused(status) => {
                status.is_server_error() || matches!(*status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
            }
            Failure::TooLong(_) | Failure::Ledger(_) => false,
        }
    }

    /// Whether core said no, and so did nothing. Otherwise it may have done what was asked.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Failure::Refused(status) if status.is_client_error())
    }
}
