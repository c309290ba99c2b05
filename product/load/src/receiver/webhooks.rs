//! Webhooks over HTTP: signed, or refused.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use super::kept::Kept;
use super::signature::{self, Distrust};
use crate::latency::Latency;
use crate::{Secret, answers};

/// A key is an identifier; a longer one is a mistake.
const KEY_BYTES_MAX: usize = 128;
const EVENT_TYPE_BYTES_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Webhooks {
    pub(super) kept: Kept,
    secret: Secret,
    latency: Latency,
    /// Deliveries accepted, by whether the webhook was new.
    received: Counter<u64>,
    /// Webhooks turned down for their signature, by what was wrong with it.
    distrusted: Counter<u64>,
}

/// What of a webhook is read. The rest of the body is the merchant's business.
#[derive(Deserialize)]
struct Webhook {
    r#type: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    payment_id: Uuid,
}

impl Webhooks {
    pub(super) fn new(kept: Kept, secret: Secret, latency: Latency) -> Webhooks {
        let meter = global::meter("product-load");
        Webhooks {
            kept,
            secret,
            latency,
            received: meter
                .u64_counter("faultline.receiver.webhooks")
                .with_unit("{delivery}")
                .with_description("Webhook deliveries accepted, by whether the webhook was new.")
                .build(),
            distrusted: meter
                .u64_counter("faultline.receiver.webhooks_distrusted")
                .with_unit("{delivery}")
                .with_description("Webhooks turned down for their signature, by what was wrong with it.")
                .build(),
        }
    }

    fn distrust(&self, distrust: Distrust) -> Response {
        self.distrusted.add(1, &[KeyValue::new("error.type", distrust.name())]);
        warn!(error.type = distrust.name(), "turned a webhook down: {distrust}");
        answers::problem(StatusCode::UNAUTHORIZED, &distrust.to_string())
    }
}

pub(super) async fn receive(State(webhooks): State<Webhooks>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(distrust) = signature::check(&headers, &body, &webhooks.secret, std::time::SystemTime::now()) {
        return webhooks.distrust(distrust);
    }
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return answers::problem(StatusCode::BAD_REQUEST, "the header Idempotency-Key is missing");
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return answers::problem(StatusCode::BAD_REQUEST, "the Idempotency-Key is empty or too long");
    }
    let webhook: Webhook = match serde_json::from_slice(&body) {
        Ok(webhook) => webhook,
        Err(error) => return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    };
    if webhook.r#type.len() > EVENT_TYPE_BYTES_MAX {
        return answers::problem(StatusCode::UNPROCESSABLE_ENTITY, "the type is too long");
    }
    webhooks.latency.pass(key).await;
    let (kind, id) = (&webhook.r#type, webhook.data.payment_id);
    match webhooks.kept.webhook(key, kind, id).await {
        Ok(deliveries) => {
            let new = deliveries == 1;
            webhooks.received.add(1, &[KeyValue::new("webhook.new", new)]);
            info!(payment.id = %id, faultline.event.kind = kind, webhook.deliveries = deliveries,
                "received {kind} of payment {id}, delivery {deliveries}");
            Json(json!({"received": true, "new": new})).into_response()
        }
        Err(error) => answers::broken(&error),
    }
}
