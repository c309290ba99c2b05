//! What an event sets off: everything composed, nothing done.
//!
//! Composing is the same wherever it happens, in core's request or in the service, for the event alone decides. So each
//! piece of work has a digest over what would leave the process, and two sides that compose the same have the same
//! digests. When it was sent, and the signature that depends on it, are no part of that.

use anyhow::Context;
use product_bus::Event;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::event::{Export, Occasion, Payment, Trigger};
use crate::mail::Letter;
use crate::receipt;
use crate::webhook::Notice;

/// Kinds of work, in the order in which they are done: first what depends on nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Receipt,
    Export,
    Mail,
    Webhook,
}

/// One thing to do for an event.
pub(crate) enum Work {
    Receipt(File),
    Export(File),
    Mail(Letter),
    Webhook(Notice),
}

/// A whole file.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) content: String,
}

impl Effect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Effect::Receipt => "receipt",
            Effect::Export => "export",
            Effect::Mail => "mail",
            Effect::Webhook => "webhook",
        }
    }
}

impl Work {
    /// All that `event` sets off by `trigger`, in the order in which it is to be done.
    pub(crate) fn compose(event: &Event, trigger: &Trigger) -> anyhow::Result<Vec<Work>> {
        Ok(match trigger {
            Trigger::Payment(occasion, payment) => vec![
                Work::Receipt(receipt(payment, *occasion)),
                Work::Mail(Letter::receipt(event, payment, *occasion)),
                Work::Webhook(Notice::compose(event, payment)?),
            ],
            Trigger::Verification(verification) => vec![Work::Mail(Letter::verification(event, verification))],
            Trigger::Export(export) => vec![Work::Export(account(event, export)?)],
        })
    }

    pub(crate) fn effect(&self) -> Effect {
        match self {
            Work::Receipt(_) => Effect::Receipt,
            Work::Export(_) => Effect::Export,
            Work::Mail(_) => Effect::Mail,
            Work::Webhook(_) => Effect::Webhook,
        }
    }

    /// SHA-256 over all parts that leave the process, in hex.
    pub(crate) fn digest(&self) -> String {
        match self {
            Work::Receipt(File { name, content }) | Work::Export(File { name, content }) => digest(&[name, content]),
            Work::Mail(Letter { message_id, to, subject, text, headers }) => {
                let headers = headers.iter().flat_map(|(name, value)| [*name, value.as_str()]);
                let parts: Vec<&str> = [message_id.as_str(), to, subject, text].into_iter().chain(headers).collect();
                digest(&parts)
            }
            Work::Webhook(Notice { key, body }) => digest(&[key, body]),
        }
    }
}

fn receipt(payment: &Payment, occasion: Occasion) -> File {
    File { name: receipt::name(payment.payment_id, occasion), content: receipt::render(payment, occasion) }
}

/// The account as core told it, readable by people and programs.
fn account(event: &Event, export: &Export) -> anyhow::Result<File> {
    #[derive(Serialize)]
    struct Document<'a> {
        export_id: String,
        user_id: String,
        requested_at: String,
        account: &'a serde_json::Value,
    }
    let requested_at =
        jiff::Timestamp::from_nanosecond(event.time_ns.into()).context("the event has no usable time")?;
    let document = Document {
        export_id: export.export_id.to_string(),
        user_id: export.user_id.to_string(),
        requested_at: requested_at.to_string(),
        account: &export.account,
    };
    let content = serde_json::to_string_pretty(&document).context("the account is not JSON")?;
    Ok(File { name: format!("{}.json", export.export_id), content })
}

/// Each part with its length before it: what ends where is part of what is digested.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_knows_where_a_part_ends() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }
}
