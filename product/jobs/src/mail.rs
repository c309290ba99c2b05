//! Mail to customers, handed to one SMTP server.
//!
//! Events carry no addresses: a letter goes to an alias made of the user's id, which the mail server turns into the
//! address that only core knows. A letter that is sent again has the same Message-ID, by which a receiver knows it.

use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use product_bus::Event;
use tracing::field::Empty;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::event::{Occasion, Payment, Verification};
use crate::receipt::amount;
use crate::work::Effect;

const FROM: &str = "Faultline <receipts@faultline.test>";
/// Connections kept open to the server: as many as events are worked on at the same time, and some to spare.
const CONNECTIONS_MAX: u32 = 10;
/// For one command of SMTP: long for a healthy server, and short enough that one that hangs holds a partition no longer
/// than a few events' worth of work.
const COMMAND_MAX: Duration = Duration::from_secs(2);

/// A letter without the date of its sending.
pub(crate) struct Letter {
    pub(crate) message_id: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// For programs that read along.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Letter {
    pub(crate) fn receipt(event: &Event, payment: &Payment, occasion: Occasion) -> Letter {
        let amount = amount(payment.amount_minor, &payment.currency);
        let (subject, sentence) = match occasion {
            Occasion::Captured => {
                (format!("Your receipt: {amount}"), format!("thank you for your payment of {amount}"))
            }
            Occasion::Refunded => (format!("Your refund: {amount}"), format!("we have given {amount} back to you")),
        };
        let Payment { payment_id, description, .. } = payment;
        let made = payment.created_at.strftime("%-d %B %Y, %H:%M UTC");
        let text = format!(
            "Hello,\n\n{sentence}.\n\nFor:     {description}\nPayment: {payment_id}\nMade on: {made}\n\nFaultline\n"
        );
        let mut letter = Letter::new(event, payment.user_id, subject, text);
        letter.headers.push(("X-Payment-Id", payment_id.to_string()));
        letter
    }

    pub(crate) fn verification(event: &Event, verification: &Verification) -> Letter {
        let Verification { user_id, display_name, token } = verification;
        let text = format!(
            "Hello {display_name},\n\nwith this code you tell us that this address is yours:\n\n{token}\n\n\
             If you have not asked for an account, nothing is to be done.\n\nFaultline\n"
        );
        Letter::new(event, *user_id, "Your address at Faultline".to_owned(), text)
    }

    fn new(event: &Event, user: Uuid, subject: String, text: String) -> Letter {
        Letter {
            message_id: format!("<{}.{}@faultline>", event.id, Effect::Mail.name()),
            to: format!("{user}@customers.faultline.test"),
            subject,
            text,
            headers: vec![
                ("X-Event-Id", event.id.to_string()),
                ("X-Event-Type", event.kind.clone()),
                ("X-User-Id", user.to_string()),
            ],
        }
    }

    fn message(&self) -> anyhow::Result<Message> {
        let from: Mailbox = FROM.parse().context("the sender is no address")?;
        let to: Mailbox = self.to.parse().context("the alias is no address")?;
        let mut builder = Message::builder()
            .message_id(Some(self.message_id.clone()))
            .from(from)
            .to(to)
            .subject(&self.subject)
            .header(ContentType::TEXT_PLAIN);
        for (name, value) in &self.headers {
            builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.clone()));
        }
        builder.body(self.text.clone()).context("the letter cannot be encoded")
    }
}

/// Speaks to one server, over connections that it keeps.
#[derive(Clone, Debug)]
pub(crate) struct Mails {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    port: u16,
}

impl Mails {
    /// `address` is `host:port`. Without TLS: the server is on this machine, or whoever puts it elsewhere puts a tunnel
    /// in between.
    pub(crate) fn new(address: &str) -> anyhow::Result<Mails> {
        let (host, port) = address.rsplit_once(':').with_context(|| format!("{address} is not host:port"))?;
        let port: u16 = port.parse().with_context(|| format!("{address} has no port"))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .timeout(Some(COMMAND_MAX))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX))
            .build();
        Ok(Mails { transport, host: host.to_owned(), port })
    }

    /// Sent when this returns `Ok`. After an error it may still have arrived: the receiver must go by the Message-ID.
    pub(crate) async fn send(&self, letter: &Letter) -> anyhow::Result<()> {
        let message = letter.message()?;
        let span = info_span!(
            "smtp",
            otel.name = "SMTP DATA",
            otel.kind = "client",
            otel.status_code = Empty,
            network.protocol.name = "smtp",
            server.address = self.host,
            server.port = i64::from(self.port),
            error.type = Empty,
        );
        let transport = self.transport.clone();
        // In a task of its own: whoever waits for it may be dropped, but a conversation cut short would leave its connection
        // one answer behind for the next letter.
        let conversation = async move { transport.send(message).await };
        let sent =
            tokio::spawn(conversation.instrument(span.clone())).await.context("the letter's task ended early")?;
        if let Err(error) = &sent {
            let kind = match error.status() {
                Some(code) => code.to_string(),
                None if error.is_timeout() => "timeout".to_owned(),
                None => "connect".to_owned(),
            };
            span.record("error.type", kind).record("otel.status_code", "ERROR");
        }
        sent.context("the mail server did not take the letter").map(drop)
    }
}
