//! What core does for a request, from the first look into the database to the commit.
//!
//! A flow opens the transactions, asks the outside world between them and tells the relay after them. It knows
//! nothing of HTTP: its input was checked, its errors are decisions.

pub(crate) mod accounts;
pub(crate) mod exports;
pub(crate) mod payments;
pub(crate) mod profiles;
pub(crate) mod sessions;

use std::sync::Arc;
use std::time::Duration;

use product_bus::Event;
use product_bus::database::Database;
use product_bus::outbox::{self, Waker};
use product_jobs::Jobs;
use sqlx::{Any, AnyConnection, Transaction};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error};
use uuid::Uuid;

use self::payments::Wish;
use crate::acquirer::{Acquirer, AcquirerError};
use crate::analytics::Reports;
use crate::domain::payments::Status;
use crate::domain::{now, span, traced};
use crate::http::OperatorToken;
use crate::images::PictureError;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::modes::Modes;
use crate::modes::inline::{self, InlineJobs};
use crate::passwords::{PasswordError, Passwords};
use crate::workers::{WorkError, Workers};

/// Everything a flow works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) database: Database,
    pub(crate) passwords: Passwords,
    /// Make pictures small.
    pub(crate) images: Workers,
    pub(crate) limits: Arc<Limits>,
    pub(crate) acquirer: Acquirer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) modes: Modes,
    pub(crate) jobs: Jobs,
    pub(crate) inline: InlineJobs,
    pub(crate) reports: Reports,
    /// None: whoever is on this machine is an operator.
    pub(crate) operator_token: Option<OperatorToken>,
    pub(crate) relay: Waker,
    /// Work that goes on when the client hangs up; shutdown waits for it.
    pub(crate) tasks: TaskTracker,
    pub(crate) session_lifetime: Duration,
    pub(crate) refresh_lifetime: Duration,
    /// How long one request may work on an Idempotency-Key before another may take over.
    pub(crate) lease: Duration,
}

/// An event in a transaction that is not committed yet.
#[must_use = "what follows from the event begins with the commit"]
struct Told {
    event: Event,
    /// What follows from it is core's own work.
    ours: bool,
}

impl Core {
    /// Puts an event into the transaction of what it tells of, with the decision who does what follows from it.
    /// `user_id`: whose event it is.
    async fn tell(
        &self,
        connection: &mut AnyConnection,
        topic: &str,
        user_id: Uuid,
        mut event: Event,
    ) -> sqlx::Result<Told> {
        self.modes.stamp(&mut event, user_id);
        event.traceparent = observe::context::current_traceparent();
        traced(span(connection, "INSERT", "outbox"), outbox::enqueue(connection, topic, &event)).await?;
        let ours = inline::is_ours(&event);
        if ours {
            inline::owe(connection, &event, now()).await?;
        }
        Ok(Told { event, ours })
    }

    /// Commits what was told and sets off what follows from it. Where that is core's own work it is done, or left to be
    /// tried again, when this returns.
    async fn commit(&self, transaction: Transaction<'static, Any>, told: Told) -> sqlx::Result<()> {
        self.database.commit(transaction).await?;
        self.relay.committed();
        if told.ours {
            let inline = self.inline.clone();
            // To its end even if whoever asked is gone: an effect that is cut short is done again.
            let work = self.tasks.spawn(async move { inline.perform(told.event).await }.in_current_span());
            if let Err(panicked) = work.await {
                error!(exception.message = %panicked, "the inline jobs of a request broke off: {panicked}");
            }
        }
        Ok(())
    }

    /// Runs `work` to its end even if whoever asked for it is gone: money may be on its way.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.tasks.spawn(work.in_current_span());
        task.await.unwrap_or_else(|panicked| Err(Error::Internal(panicked.into())))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("an account with this e-mail address exists already")]
    EmailTaken,
    /// One error for both: nobody learns here who has an account.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// For so long. Of addresses without an account as well.
    #[error("too many wrong passwords for this address")]
    Locked(Duration),
    #[error("this refresh token is unknown, too old, or was shown before")]
    SessionOver,
    #[error("there is no picture")]
    AvatarMissing,
    #[error("the picture {0}")]
    Picture(#[source] PictureError),
    #[error("there is no such export")]
    ExportMissing,
    #[error("there is no such payment")]
    PaymentMissing,
    #[error("this payment is {status}, so it cannot be {}", wish.done())]
    WrongStatus { status: Status, wish: Wish },
    #[error("another request with this Idempotency-Key is being worked on")]
    KeyInFlight,
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    #[error("the acquirer gave no usable answer")]
    Acquirer(#[source] AcquirerError),
    #[error("too many requests at once")]
    Busy,
    #[error("there is no room for what is to be kept")]
    Full(#[source] sqlx::Error),
    #[error("something went wrong")]
    Internal(#[source] anyhow::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Error::Busy,
            error if product_bus::database::is_full(&error) => Error::Full(error),
            error => Error::Internal(anyhow::Error::new(error).context("the database refused")),
        }
    }
}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Work(error) => error.into(),
            PasswordError::Hash(_) => Error::Internal(error.into()),
        }
    }
}

impl From<WorkError> for Error {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Busy => Error::Busy,
            WorkError::Panicked(_) => Error::Internal(error.into()),
        }
    }
}
