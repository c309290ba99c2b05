//! What core does for a request, from the first look into the database to the commit.
//!
//! A flow opens the transactions, asks the outside world between them and tells the relay after them. It knows
//! nothing of HTTP: its input was checked, its errors are decisions.

pub(crate) mod accounts;
pub(crate) mod payments;
pub(crate) mod profiles;

use std::sync::Arc;
use std::time::Duration;

use product_bus::Event;
use product_bus::database::Database;
use product_bus::outbox::{self, Waker};
use sqlx::{Any, AnyConnection, Transaction};
use tokio_util::task::TaskTracker;

use crate::acquirer::{Acquirer, AcquirerError};
use crate::domain::payments::Status;
use crate::domain::{span, traced};
use crate::metrics::Metrics;
use crate::passwords::{PasswordError, Passwords};

/// Everything a flow works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) database: Database,
    pub(crate) passwords: Passwords,
    pub(crate) acquirer: Acquirer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) relay: Waker,
    /// Work that goes on when the client hangs up; shutdown waits for it.
    pub(crate) tasks: TaskTracker,
    pub(crate) session_lifetime: Duration,
    /// How long one request may work on an Idempotency-Key before another may take over.
    pub(crate) lease: Duration,
}

impl Core {
    /// Commits, then wakes the relay for the events in the transaction.
    async fn commit(&self, transaction: Transaction<'static, Any>) -> sqlx::Result<()> {
        self.database.commit(transaction).await?;
        self.relay.committed();
        Ok(())
    }

    /// Runs `work` to its end even if whoever asked for it is gone: money may be on its way.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.tasks.spawn(tracing::Instrument::in_current_span(work));
        task.await.unwrap_or_else(|panicked| Err(Error::Internal(panicked.into())))
    }
}

/// Puts an event into the transaction of what it tells of.
async fn tell(connection: &mut AnyConnection, topic: &str, event: &Event) -> sqlx::Result<()> {
    traced(span(connection, "INSERT", "outbox"), outbox::enqueue(connection, topic, event)).await
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("an account with this e-mail address exists already")]
    EmailTaken,
    /// One error for both: nobody learns here who has an account.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    #[error("there is no such payment")]
    PaymentMissing,
    #[error("a {0} payment cannot be refunded")]
    NotRefundable(Status),
    #[error("another request with this Idempotency-Key is being worked on")]
    KeyInFlight,
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    #[error("the acquirer gave no usable answer")]
    Acquirer(#[source] AcquirerError),
    #[error("too many requests at once")]
    Busy,
    #[error("something went wrong")]
    Internal(#[source] anyhow::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Error::Busy,
            error => Error::Internal(anyhow::Error::new(error).context("the database refused")),
        }
    }
}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Error::Busy,
            PasswordError::Failed(source) => Error::Internal(source.context("could not hash a password")),
        }
    }
}
