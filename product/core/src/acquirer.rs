//! The acquirer: who moves the money. It knows each payment by our id and decides once on it, so asking again is safe.

use std::time::Duration;

use observe::http::{Client, Response};
use serde::Deserialize;
use serde_json::json;

use crate::domain::input::CardToken;
use crate::domain::payments::{Payment, Status};

#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquirerError {
    #[error("could not ask the acquirer")]
    Exchange(#[from] observe::http::Error),
    #[error("the acquirer answered {0}")]
    Answer(observe::http::StatusCode),
}

#[derive(Clone, Debug)]
pub(crate) struct Acquirer {
    client: Client,
    base: String,
}

#[derive(Deserialize)]
struct Charge {
    status: Decision,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approved,
    Declined,
}

impl Acquirer {
    pub(crate) fn new(base: &str, timeout: Duration) -> Acquirer {
        Acquirer { client: Client::new(timeout), base: base.trim_end_matches('/').to_owned() }
    }

    /// Asks for the money, or only to hold it. `Captured` or `Authorized`, or `Declined`; after an error nobody knows, and
    /// asking again tells.
    // No retry here: the customer's client retries with its key, and two loops multiply.
    pub(crate) async fn charge(
        &self,
        payment: &Payment,
        card: &CardToken,
        capture: bool,
    ) -> Result<Status, AcquirerError> {
        let answer = self
            .client
            .post(format!("{}/v1/charges", self.base))
            .header("idempotency-key", &payment.id.to_string())
            .json(&json!({
                "payment_id": payment.id,
                "amount_minor": payment.money.amount_minor(),
                "currency": payment.money.currency(),
                "card_token": card.as_str(),
                "capture": capture,
            }))
            .send()
            .await?;
        match success(answer)?.json::<Charge>().await?.status {
            Decision::Approved if capture => Ok(Status::Captured),
            Decision::Approved => Ok(Status::Authorized),
            Decision::Declined => Ok(Status::Declined),
        }
    }

    /// Takes the money that an authorization holds.
    pub(crate) async fn capture(&self, payment: &Payment) -> Result<(), AcquirerError> {
        self.change(payment, "capture").await
    }

    /// Gives the money of a captured payment back.
    pub(crate) async fn refund(&self, payment: &Payment) -> Result<(), AcquirerError> {
        self.change(payment, "refund").await
    }

    async fn change(&self, payment: &Payment, what: &str) -> Result<(), AcquirerError> {
        let answer = self
            .client
            .post(format!("{}/v1/charges/{}/{what}", self.base, payment.id))
            .header("idempotency-key", &format!("{}:{what}", payment.id))
            .json(&json!({ "payment_id": payment.id, "amount_minor": payment.money.amount_minor() }))
            .send()
            .await?;
        success(answer).map(drop)
    }
}

fn success(answer: Response) -> Result<Response, AcquirerError> {
    if answer.status().is_success() { Ok(answer) } else { Err(AcquirerError::Answer(answer.status())) }
}
