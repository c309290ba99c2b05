//! Money: paid, authorized, captured, refunded, and asked for again until core has said what became of it.

use std::io;
use std::time::Duration;

use observe::http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tracing::{Span, info};
use uuid::Uuid;

use super::Errands;
use crate::customers::answer::Failure;
use crate::customers::intent::{Intent, Open, Token};
use crate::customers::ledger::Entry;
use crate::customers::locked;
use crate::customers::plan::Purchase;

/// Waits before a payment, capture or refund without a usable answer is asked for again. A customer does not know
/// whether the money moved, so asks with the same key; after these attempts the question stays open and counts as failed.
const WAITS_BEFORE_ASKING_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

#[derive(Deserialize)]
struct Payment {
    id: String,
    status: String,
    amount_minor: i64,
    currency: String,
}

impl Errands {
    pub(super) async fn pay(
        &self,
        intent: &Intent,
        token: &Token,
        purchase: Purchase,
        captures: bool,
    ) -> Result<StatusCode, Failure> {
        // Not from the seed: a second run of the same plan on the same data means new payments.
        let key = Uuid::now_v7().to_string();
        let mut order = json!({
            "amount_minor": purchase.amount_minor,
            "currency": purchase.currency,
            "description": purchase.description,
            "card_token": purchase.card_token,
        });
        if !captures {
            order["capture"] = json!(false);
        }
        let (status, payment) = self
            .ask_until_settled(intent, token, || self.post("/v1/payments").header("idempotency-key", &key).json(&order))
            .await?;
        Span::current().record("payment.id", &payment.id).record("payment.status", &payment.status);
        self.settled(intent, payment)?;
        Ok(status)
    }

    /// Captures or refunds a payment; `open` again when that failed.
    pub(super) async fn go_on_with(
        &self,
        intent: &Intent,
        token: &Token,
        id: &str,
        verb: &str,
        open: Open,
    ) -> Result<StatusCode, Failure> {
        let path = format!("/v1/payments/{id}/{verb}");
        match self.ask_until_settled(intent, token, || self.post(&path)).await {
            Ok((status, payment)) => {
                self.settled(intent, payment)?;
                Ok(status)
            }
            Err(failure) => {
                locked(&self.population).has_payment(intent.customer, id.to_owned(), open);
                Err(failure)
            }
        }
    }

    /// Core has said what became of a payment.
    fn settled(&self, intent: &Intent, payment: Payment) -> io::Result<()> {
        let (id, status) = (&payment.id, &payment.status);
        self.ledger.append(&Entry {
            intent: format!("payment.{status}"),
            id: id.clone(),
            amount_minor: Some(payment.amount_minor),
            currency: Some(payment.currency),
            seed: intent.name.seed,
            customer: intent.name.customer,
        })?;
        locked(&self.population).has_payment(intent.customer, id.clone(), Open::after(status));
        info!(payment.id = id, payment.status = status, "payment {id} was {status}");
        Ok(())
    }

    /// The same request until it is answered for good, the attempts are used up, or the run ends.
    async fn ask_until_settled(
        &self,
        intent: &Intent,
        token: &Token,
        request: impl Fn() -> Request,
    ) -> Result<(StatusCode, Payment), Failure> {
        let attempt = async || {
            let answer = self.ask(intent, token, request()).await?;
            Ok((answer.status, answer.read()?))
        };
        let mut answer = attempt().await;
        for wait in WAITS_BEFORE_ASKING_AGAIN {
            match &answer {
                Err(failure) if Failure::is_passing(failure) => {}
                _ => break,
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            self.statistics.sent_again(intent.errand.endpoint());
            answer = attempt().await;
        }
        answer
    }
}
