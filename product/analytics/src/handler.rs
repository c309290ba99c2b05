//! What is done for an event: read it, then change the projections with the inbox row in one transaction.

use product_bus::Event;
use product_bus::consumer::{Handler, HandlerError};
use sqlx::AnyConnection;
use tracing::{Instrument, info, info_span};

use crate::event::Fact;
use crate::metrics::Metrics;
use crate::projections;

/// Acts on the events of `users` and `payments`.
#[derive(Clone, Debug)]
pub struct Analytics {
    metrics: Metrics,
}

impl Analytics {
    pub(crate) fn new() -> Analytics {
        Analytics { metrics: Metrics::new() }
    }

    async fn count(&self, transaction: &mut AnyConnection, event: &Event, fact: &Fact) -> Result<(), HandlerError> {
        let kind = &event.kind;
        projections::apply(transaction, kind, fact).await?;
        self.metrics.applied(kind);
        match fact.payment() {
            Some(id) => info!(event.kind = kind, payment.id = %id, "counted {kind} of payment {id}"),
            None => {
                let id = fact.user_id;
                info!(event.kind = kind, user.id = %id, "counted {kind} of user {id}");
            }
        }
        Ok(())
    }
}

impl Handler for Analytics {
    async fn apply(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        let Some(fact) = Fact::read(event).map_err(HandlerError::Poison)? else {
            return Ok(());
        };
        let span = info_span!("update projections", event.kind = event.kind, payment.id = fact.payment().map(display));
        self.count(transaction, event, &fact).instrument(span).await
    }
}
