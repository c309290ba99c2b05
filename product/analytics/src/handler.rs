//! What is done for an event: read it, then add its fact and the inbox row in one transaction.
//!
//! Which side answers reports at the moment (the event's extension `analytics`) makes no difference here: a fact is
//! no effect, and whoever is to answer tomorrow needs those of today.

use product_bus::Event;
use product_bus::consumer::{Handler, HandlerError};
use sqlx::AnyConnection;
use tracing::{Instrument, info, info_span};

use crate::event::{COUNTED, Fact};
use crate::facts;
use crate::metrics::Metrics;

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
        facts::add(transaction, fact).await?;
        self.metrics.counted(kind);
        match fact.payment() {
            Some(id) => info!(faultline.event.kind = kind, payment.id = %id, "counted {kind} of payment {id}"),
            None => {
                let id = fact.user_id;
                info!(faultline.event.kind = kind, user.id = %id, "counted {kind} of user {id}");
            }
        }
        Ok(())
    }
}

impl Handler for Analytics {
    fn wants(&self, event: &Event) -> bool {
        COUNTED.contains(&event.kind.as_str())
    }

    async fn apply(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        let Some(fact) = Fact::read(event).map_err(HandlerError::Poison)? else {
            return Ok(());
        };
        let payment = fact.payment().map(tracing::field::display);
        let span = info_span!("add fact", faultline.event.kind = event.kind, payment.id = payment);
        self.count(transaction, event, &fact).instrument(span).await
    }
}
