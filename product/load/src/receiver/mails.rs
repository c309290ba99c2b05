//! Mails: which they are, from their headers alone. Nothing else of a mail is kept, in memory or on disk.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tracing::{Instrument, error, info, info_span, warn};
use uuid::Uuid;

use super::kept::{Kept, Mail};
use crate::faults::{Faults, Struck, Target};
use crate::latency::Latency;

/// An identifier; a longer one is a mistake.
const MESSAGE_ID_BYTES_MAX: usize = 256;
const EVENT_TYPE_BYTES_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Mailbox {
    kept: Kept,
    latency: Latency,
    faults: Faults,
    /// Mails that came to their end, by outcome: new, repeat, refused, failed.
    received: Counter<u64>,
}

/// Why a mail is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It never will be.
    #[error("{0}")]
    Senseless(&'static str),
    /// It may be later.
    #[error("could not keep the mail, try again later")]
    Failing,
    /// Nor is any other now.
    #[error("not taking mail, try again later")]
    Refusing,
}

impl Mailbox {
    pub(super) fn new(kept: Kept, latency: Latency, faults: Faults) -> Mailbox {
        let received = global::meter("product-load")
            .u64_counter("faultline.receiver.mails")
            .with_unit("{delivery}")
            .with_description("Mails by outcome: new, repeat, refused for what they lack, failed on our side.")
            .build();
        Mailbox { kept, latency, faults, received }
    }

    /// Whether nobody is let in now.
    pub(super) fn refuses(&self) -> bool {
        self.faults.refuses(Target::Mail)
    }

    /// Takes the mail with these headers: once this is `Ok`, it is kept.
    pub(super) async fn take(&self, headers: &[u8]) -> Result<(), Refusal> {
        let span = info_span!("receive mail", otel.kind = "server", faultline.event.kind = tracing::field::Empty);
        let taken = self.keep(headers).instrument(span).await;
        let outcome = match taken {
            Ok(1) => "new",
            Ok(_) => "repeat",
            Err(Refusal::Senseless(_)) => "refused",
            Err(Refusal::Failing | Refusal::Refusing) => "failed",
        };
        self.received.add(1, &[KeyValue::new("outcome", outcome)]);
        taken.map(drop)
    }

    /// Returns how often the mail has been delivered by now.
    async fn keep(&self, headers: &[u8]) -> Result<i64, Refusal> {
        self.faults.meet(Target::Mail).await.map_err(|struck| match struck {
            Struck::Failing => Refusal::Failing,
            Struck::Refusing => Refusal::Refusing,
        })?;
        let mail = read(headers).map_err(|lack| {
            warn!("turned a mail down: {lack}");
            Refusal::Senseless(lack)
        })?;
        self.latency.pass(&mail.message_id).await;
        let deliveries = self.kept.mail(&mail).await.map_err(|error| {
            error!(exception.message = %error, "the database failed: {error}");
            Refusal::Failing
        })?;
        let (kind, id) = (&mail.event_type, mail.event_id);
        tracing::Span::current().record("faultline.event.kind", kind);
        info!(faultline.event.id = %id, faultline.event.kind = kind, mail.deliveries = deliveries,
            "received the mail of {kind} {id}, delivery {deliveries}");
        Ok(deliveries)
    }
}

/// Which mail it is, or what it lacks to be recognised again.
fn read(headers: &[u8]) -> Result<Mail, &'static str> {
    let headers = std::str::from_utf8(headers).map_err(|_| "the headers are not text")?;
    let message_id = field(headers, "message-id").ok_or("the header Message-ID is missing")?;
    if message_id.is_empty() || message_id.len() > MESSAGE_ID_BYTES_MAX {
        return Err("the Message-ID is empty or too long");
    }
    let event_id = field(headers, "x-event-id").ok_or("the header X-Event-Id is missing")?;
    let event_type = field(headers, "x-event-type").ok_or("the header X-Event-Type is missing")?;
    if event_type.is_empty() || event_type.len() > EVENT_TYPE_BYTES_MAX {
        return Err("the X-Event-Type is empty or too long");
    }
    let payment_id = field(headers, "x-payment-id").map(|id| Uuid::try_parse(&id)).transpose();
    Ok(Mail {
        message_id,
        event_id: Uuid::try_parse(&event_id).map_err(|_| "the X-Event-Id is no UUID")?,
        event_type,
        payment_id: payment_id.map_err(|_| "the X-Payment-Id is no UUID")?,
    })
}

/// The value of the first header of this name, unfolded: a line that starts with a blank goes on with the one before.
fn field(headers: &str, name: &str) -> Option<String> {
    let mut lines = headers.lines();
    let begins = |line: &str| {
        let (key, value) = line.split_once(':')?;
        key.trim_end().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    let mut value = lines.find_map(begins)?;
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(line.trim());
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "00000000-0000-7000-8000-00000000000e";
    const PAYMENT: &str = "00000000-0000-7000-8000-000000000001";

    #[test]
    fn a_mail_is_known_by_its_headers() {
        let headers = format!(
            "From: shop@example.com\nSubject: Message-ID: <no>\nMESSAGE-ID: <{EVENT}.receipt@faultline>\n\
             X-Event-Id:{EVENT}\nX-Event-Type:\n\tpayment.captured\nX-Payment-Id: {PAYMENT}\n"
        );
        let mail = Mail {
            message_id: format!("<{EVENT}.receipt@faultline>"),
            event_id: EVENT.parse().expect("an id"),
            event_type: "payment.captured".to_owned(),
            payment_id: Some(PAYMENT.parse().expect("an id")),
        };
        assert_eq!(read(headers.as_bytes()), Ok(mail));
    }

    #[test]
    fn a_mail_about_no_payment_has_none() {
        let headers = format!("Message-ID: <a>\nX-Event-Id: {EVENT}\nX-Event-Type: user.registered\n");
        assert_eq!(read(headers.as_bytes()).map(|mail| mail.payment_id), Ok(None));
    }

    #[test]
    fn what_cannot_be_recognised_again_is_senseless() {
        let whole = format!("Message-ID: <a>\nX-Event-Id: {EVENT}\nX-Event-Type: t\nX-Payment-Id: {PAYMENT}\n");
        assert!(read(whole.as_bytes()).is_ok());
        for (good, bad) in [
            ("Message-ID: <a>", "Message: <a>"),
            ("Message-ID: <a>", "Message-ID:"),
            (EVENT, "seven"),
            ("X-Event-Type: t", "X-Event-Type: "),
            (PAYMENT, "7"),
            ("<a>", &"a".repeat(MESSAGE_ID_BYTES_MAX + 1)),
        ] {
            assert!(read(whole.replacen(good, bad, 1).as_bytes()).is_err(), "{good} as {bad}");
        }
        assert!(read(b"\xff").is_err());
    }
}
