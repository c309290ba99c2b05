//! What is done for an event, and in which order.
//!
//! The receipt comes first: it depends on nobody. A webhook that fails sends the event round again, and by then
//! the receipt is noted as done, so only what is missing is tried.

use anyhow::Context;
use product_bus::Event;
use product_bus::consumer::{Handler, HandlerError};
use product_bus::database::Database;
use sqlx::AnyConnection;
use tracing::{Instrument, info, info_span};

use crate::effects::{self, Effect};
use crate::metrics::Metrics;
use crate::payment::{Occasion, Payment};
use crate::receipt::Receipts;
use crate::webhook::Webhooks;

/// Acts on the events of `payments`.
#[derive(Clone)]
pub struct Jobs {
    database: Database,
    receipts: Receipts,
    webhooks: Webhooks,
    metrics: Metrics,
}

impl Jobs {
    pub(crate) fn new(database: Database, receipts: Receipts, webhooks: Webhooks) -> Jobs {
        Jobs { database, receipts, webhooks, metrics: Metrics::new() }
    }

    async fn receipt(&self, event: &Event, payment: &Payment, occasion: Occasion) -> Result<(), HandlerError> {
        if effects::happened(&self.database, event.id, Effect::Receipt).await? {
            return Ok(());
        }
        let bytes = self
            .receipts
            .write(payment, occasion)
            .await
            .context("could not write the receipt")
            .map_err(HandlerError::Retry)?;
        effects::note(&self.database, event, payment, Effect::Receipt).await?;
        self.metrics.receipt_written(occasion);
        let (id, kind) = (payment.payment_id, occasion.name());
        info!(payment.id = %id, event.kind = event.kind, receipt.bytes = bytes, "wrote the {kind} receipt of payment {id}");
        Ok(())
    }

    async fn webhook(&self, event: &Event, payment: &Payment) -> Result<(), HandlerError> {
        if effects::happened(&self.database, event.id, Effect::Webhook).await? {
            return Ok(());
        }
        let sent = self.webhooks.send(event, payment).await;
        self.metrics.webhook_tried(sent.as_ref().err().map_or("delivered", |error| error.outcome()));
        // No log of the failure here: the consumer, which decides what follows from it, logs it once.
        sent.context("could not deliver the webhook").map_err(HandlerError::Retry)?;
        effects::note(&self.database, event, payment, Effect::Webhook).await?;
        let (id, kind) = (payment.payment_id, &event.kind);
        info!(payment.id = %id, event.kind = kind, "told the webhook receiver of {kind} of payment {id}");
        Ok(())
    }
}

impl Handler for Jobs {
    /// Both effects lie outside the database, so all the work is here; `effects` makes it happen once.
    async fn before(&self, event: &Event) -> Result<(), HandlerError> {
        let Some(occasion) = Occasion::of(event) else {
            return Ok(());
        };
        let payment = Payment::read(event).map_err(HandlerError::Poison)?;
        let span = info_span!("render receipt", payment.id = %payment.payment_id, event.kind = event.kind);
        self.receipt(event, &payment, occasion).instrument(span).await?;
        let span = info_span!("send webhook", payment.id = %payment.payment_id, event.kind = event.kind);
        self.webhook(event, &payment).instrument(span).await
    }

    /// The transaction holds nothing but the inbox row: it says that every effect is noted.
    async fn apply(&self, _transaction: &mut AnyConnection, _event: &Event) -> Result<(), HandlerError> {
        Ok(())
    }
}
