//! Webhooks: telling the merchant's receiver, with a key by which it recognises what it already has and a signature by
//! which it recognises us.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use hmac::{Hmac, Mac};
use observe::http::{Client, StatusCode};
use product_bus::Event;
use serde::Serialize;
use sha2::Sha256;

use crate::event::Payment;

/// What is told, not yet signed.
pub(crate) struct Notice {
    /// The same for every attempt.
    pub(crate) key: String,
    pub(crate) body: String,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
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

impl Notice {
    pub(crate) fn compose(event: &Event, payment: &Payment) -> anyhow::Result<Notice> {
        let key = event.id.to_string();
        let message = Message {
            id: &key,
            r#type: &event.kind,
            data: Data {
                payment_id: payment.payment_id.to_string(),
                amount_minor: payment.amount_minor,
                currency: &payment.currency,
                created_at: payment.created_at.to_string(),
            },
        };
        let body = serde_json::to_string(&message).context("the webhook is not JSON")?;
        Ok(Notice { key, body })
    }
}

/// Speaks to one receiver.
#[derive(Clone)]
pub(crate) struct Webhooks {
    client: Client,
    url: String,
    /// Keyed with the secret that the receiver shares.
    mac: Hmac<Sha256>,
}

/// Why a webhook is not delivered. Both may succeed later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("the webhook receiver answered {0}")]
    Refused(StatusCode),
    #[error("could not reach the webhook receiver")]
    Unreachable(#[source] observe::http::Error),
}

impl Webhooks {
    pub(crate) fn new(base_url: &str, timeout: Duration, secret: &str) -> anyhow::Result<Webhooks> {
        let url = format!("{}/v1/webhooks", base_url.trim_end_matches('/'));
        let mac = Hmac::new_from_slice(secret.as_bytes()).context("the webhook secret cannot be a key")?;
        Ok(Webhooks { client: Client::new(timeout), url, mac })
    }

    /// Delivered when this returns `Ok`. After an error it may still have arrived: the receiver must go by the key.
    pub(crate) async fn send(&self, notice: &Notice) -> Result<(), WebhookError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = self
            .client
            .post(&self.url)
            .header("idempotency-key", &notice.key)
            .header("webhook-signature", &self.signature(now, &notice.body))
            .header("content-type", "application/json")
            .body(notice.body.clone());
        let answer = request.send().await.map_err(WebhookError::Unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(WebhookError::Refused(status)),
        }
    }

    /// `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 of the time, a dot and the body. The time is signed so that who
    /// overhears a webhook cannot send it again much later.
    fn signature(&self, time_s: u64, body: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(format!("{time_s}.").as_bytes());
        mac.update(body.as_bytes());
        format!("t={time_s},v1={}", hex::encode(mac.finalize().into_bytes()))
    }
}
