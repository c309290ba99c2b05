//! Webhooks: telling the merchant's receiver, with a key by which it recognises what it already has.

use std::time::Duration;

use observe::http::{Client, StatusCode};
use product_bus::Event;
use serde::Serialize;

use crate::payment::Payment;

/// Speaks to one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    client: Client,
    url: String,
}

/// Why a webhook is not delivered. Both may succeed later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("the webhook receiver answered {0}")]
    Refused(StatusCode),
    #[error("could not reach the webhook receiver")]
    Unreachable(#[source] observe::http::Error),
}

impl WebhookError {
    /// Name of the outcome in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            WebhookError::Refused(_) => "refused",
            WebhookError::Unreachable(_) => "unreachable",
        }
    }
}

/// The body that is sent.
#[derive(Serialize)]
struct Message<'a> {
    id: String,
    r#type: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    payment_id: String,
    amount_minor: i64,
    currency: &'a str,
    created_at: String,
}

impl Webhooks {
    pub(crate) fn new(base_url: &str, timeout: Duration) -> Webhooks {
        let url = format!("{}/v1/webhooks", base_url.trim_end_matches('/'));
        Webhooks { client: Client::new(timeout), url }
    }

    /// Delivered when this returns `Ok`. After an error it may still have arrived: the receiver must go by the key.
    pub(crate) async fn send(&self, event: &Event, payment: &Payment) -> Result<(), WebhookError> {
        let message = Message {
            id: event.id.to_string(),
            r#type: &event.kind,
            data: Data {
                payment_id: payment.payment_id.to_string(),
                amount_minor: payment.amount_minor,
                currency: &payment.currency,
                created_at: payment.created_at.to_string(),
            },
        };
        let request = self.client.post(&self.url).header("idempotency-key", &message.id).json(&message);
        let answer = request.send().await.map_err(WebhookError::Unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(WebhookError::Refused(status)),
        }
    }
}
