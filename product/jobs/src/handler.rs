//! What is done for an event, by whom and in which order.
//!
//! The receipt comes first: it depends on nobody. A letter or a webhook that fails sends the event round again, and by
//! then what went well is noted, so only what is missing is tried.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::civil::Date;
use product_bus::consumer::{Handler, HandlerError};
use product_bus::database::{Database, Dialect};
use product_bus::{Event, INLINE};
use sqlx::AnyConnection;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info, info_span};
use uuid::Uuid;

use crate::event::{Occasion, TRIGGERS, Trigger};
use crate::files::Folder;
use crate::mail::Mails;
use crate::metrics::Metrics;
use crate::settlement::{self, Settlement};
use crate::webhook::Webhooks;
use crate::work::{Effect, Work};
use crate::{effects, receipt, shadow};

/// The name of the extension that says who deals with an event.
const EXTENSION: &str = "jobs";

/// Whom jobs talk to, and where they leave their files.
pub struct JobsSettings {
    pub webhook_url: String,
    pub webhook_timeout: Duration,
    pub webhook_secret: String,
    /// `host:port` of the SMTP server.
    pub mail_address: String,
    pub data_dir: PathBuf,
}

/// The work that events set off, with the database where it is noted. Core calls it within a request, the service for
/// what it consumes; it is the same work. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    database: Database,
    receipts: Folder,
    exports: Folder,
    settlements: Folder,
    mails: Mails,
    webhooks: Webhooks,
    metrics: Metrics,
}

/// Who deals with an event: decided when it was written, and never after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Core has done or will do it.
    Inline,
    /// Core as well, and the service composes the same to be compared.
    Dual,
    /// The service.
    Events,
}

impl Route {
    /// An event that names no route is from before there were any.
    fn of(event: &Event) -> anyhow::Result<Route> {
        match event.extensions.get(EXTENSION).map(String::as_str) {
            Some(INLINE) => Ok(Route::Inline),
            Some("dual") => Ok(Route::Dual),
            Some("events") | None => Ok(Route::Events),
            Some(other) => anyhow::bail!("nobody deals with jobs by the route {other:?}"),
        }
    }
}

impl Jobs {
    /// Creates the folders and brings the tables up to date.
    pub async fn open(settings: JobsSettings, database: Database) -> anyhow::Result<Jobs> {
        database.migrate(&migrations(database.dialect())).await?;
        let product = settings.data_dir.join("product");
        let folder = async |name: &str| {
            let path = product.join(name);
            Folder::open(path).await.with_context(|| format!("could not create {name} in {}", product.display()))
        };
        Ok(Jobs {
            receipts: folder("receipts").await?,
            exports: folder("exports").await?,
            settlements: folder("settlements").await?,
            mails: Mails::new(&settings.mail_address)?,
            webhooks: Webhooks::new(&settings.webhook_url, settings.webhook_timeout, &settings.webhook_secret)?,
            metrics: Metrics::new(),
            database,
        })
    }

    /// Does what `event` sets off and is not done yet. `Retry`: something refused, and what is left can be tried again.
    pub async fn perform(&self, event: &Event) -> Result<(), HandlerError> {
        let Some((trigger, works)) = compose(event)? else { return Ok(()) };
        let done = effects::done(&self.database, event.id).await?;
        for work in works.iter().filter(|work| !done.contains(work.effect().name())) {
            self.attempt(event, &trigger, work).instrument(span(event, &trigger, work)).await?;
        }
        Ok(())
    }

    /// Notes what `perform` would do, and does nothing of it.
    pub async fn shadow(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        let Some((_, works)) = compose(event)? else { return Ok(()) };
        for work in &works {
            shadow::note(transaction, event, work).await?;
            self.metrics.tried(work.effect(), "shadowed");
        }
        Ok(())
    }

    async fn attempt(&self, event: &Event, trigger: &Trigger, work: &Work) -> Result<(), HandlerError> {
        let effect = work.effect().name();
        let done = match work {
            Work::Receipt(file) => self.receipts.write(&file.name, file.content.clone()).await.map_err(Into::into),
            Work::Export(file) => self.exports.write(&file.name, file.content.clone()).await.map_err(Into::into),
            Work::Mail(letter) => self.mails.send(letter).await,
            Work::Webhook(notice) => self.webhooks.send(notice).await.map_err(Into::into),
        };
        self.metrics.tried(work.effect(), if done.is_ok() { "done" } else { "failed" });
        // No log of the failure here: the caller, which decides what follows from it, logs it once.
        done.with_context(|| format!("could not do the {effect}")).map_err(HandlerError::Retry)?;

        let mut transaction = self.database.begin().await?;
        effects::note(&mut transaction, event, trigger.payment_id(), work.effect()).await?;
        if Route::of(event).is_ok_and(|route| route == Route::Dual) {
            shadow::note(&mut transaction, event, work).await?;
        }
        if let (Work::Receipt(_), Trigger::Payment(occasion, payment)) = (work, trigger) {
            settlement::add(&mut transaction, event, payment, *occasion).await?;
        }
        self.database.commit(transaction).await?;
        let (key, kind) = (&event.key, &event.kind);
        info!(faultline.event.kind = kind, faultline.event.key = key, "did the {effect} for {kind} of {key}");
        Ok(())
    }

    /// The receipt of a payment or of its refund; `None` when there is none.
    pub(crate) async fn receipt(&self, payment: Uuid, occasion: Occasion) -> io::Result<Option<Vec<u8>>> {
        self.receipts.read(&receipt::name(payment, occasion)).await
    }

    /// The document of an account's export; `None` when it is not written, or not yet.
    pub async fn export(&self, export: Uuid) -> io::Result<Option<Vec<u8>>> {
        self.exports.read(&format!("{export}.json")).await
    }

    /// Settles a day that is over. `by` is whose items they are, and part of the file's name: `core` or `jobs`.
    pub async fn settle(&self, day: Date, by: &str) -> anyhow::Result<Vec<Settlement>> {
        settlement::settle(&self.database, &self.settlements, day, by).await
    }

    /// Settles each day some minutes after its end, until `stop`.
    pub async fn settle_by_the_clock(&self, by: &str, stop: CancellationToken) {
        settlement::by_the_clock(&self.database, &self.settlements, by, &stop).await;
    }

    pub fn database(&self) -> &Database {
        &self.database
    }
}

impl Handler for Jobs {
    /// What core does alone, and what sets off nothing, is none of the service's business.
    fn wants(&self, event: &Event) -> bool {
        TRIGGERS.contains(&event.kind.as_str()) && Route::of(event).ok() != Some(Route::Inline)
    }

    /// Effects lie outside the database, so all of them are here; `effects` makes each happen once.
    async fn before(&self, event: &Event) -> Result<(), HandlerError> {
        match Route::of(event).map_err(HandlerError::Poison)? {
            Route::Inline | Route::Dual => Ok(()),
            Route::Events => self.perform(event).await,
        }
    }

    /// For what was done before, the transaction holds nothing but the inbox row: it says that every effect is noted.
    async fn apply(&self, transaction: &mut AnyConnection, event: &Event) -> Result<(), HandlerError> {
        match Route::of(event).map_err(HandlerError::Poison)? {
            Route::Inline | Route::Events => Ok(()),
            Route::Dual => self.shadow(transaction, event).await,
        }
    }
}

/// How the tables came to be. The same for a database of the service's own and for core's, beside core's tables.
pub fn migrations(dialect: Dialect) -> Migrator {
    let mut migrations = match dialect {
        Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/postgres"),
    };
    migrations.dangerous_set_table_name("_jobs_migrations");
    migrations
}

/// What the event sets off; `None` when that is nothing.
fn compose(event: &Event) -> Result<Option<(Trigger, Vec<Work>)>, HandlerError> {
    let composed = || {
        let Some(trigger) = Trigger::read(event)? else { return Ok(None) };
        let works = Work::compose(event, &trigger)?;
        Ok(Some((trigger, works)))
    };
    composed().map_err(HandlerError::Poison)
}

fn span(event: &Event, trigger: &Trigger, work: &Work) -> Span {
    let name = match work.effect() {
        Effect::Receipt => "write receipt",
        Effect::Export => "write export",
        Effect::Mail => "send mail",
        Effect::Webhook => "send webhook",
    };
    let payment = trigger.payment_id().map(tracing::field::display);
    info_span!("job", otel.name = name, payment.id = payment, faultline.event.kind = event.kind)
}
