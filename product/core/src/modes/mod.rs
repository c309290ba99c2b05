//! Which work is done in core and which outside, changed while customers are served.
//!
//! A [`Route`] is decided in the transaction of what an event tells of and stored with the event, so every event has
//! one owner whatever is switched afterwards: a switch has nothing to hand over, and going back is as quick as one
//! row. Jobs that stay in core are in [`inline`], their comparison in [`shadow`]; reports are in `crate::analytics`.

pub(crate) mod comparison;
pub(crate) mod inline;
pub(crate) mod shadow;

mod route;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use product_bus::Event;
use product_bus::database::Database;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

pub use route::Mode;
pub(crate) use route::{Concern, Route};

use crate::domain::now;
use comparison::Comparison;

/// What somebody wants to change.
pub(crate) struct Change {
    pub(crate) mode: Mode,
    pub(crate) percent: u8,
    /// Promote although the comparison does not allow it.
    pub(crate) force: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The service is not known to do what core does; says why.
    #[error("{0}")]
    NotClean(&'static str),
    #[error("could not change the mode")]
    Database(#[from] sqlx::Error),
}

#[derive(Default)]
struct Routes {
    of: BTreeMap<Concern, Route>,
    /// How often they were changed here.
    changes: u64,
}

/// The routes in force. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Modes {
    database: Database,
    routes: Arc<RwLock<Routes>>,
    /// One change at a time: each is decided on what the one before left.
    changing: Arc<Mutex<()>>,
    /// Open unless all work is core's own.
    gate: watch::Sender<bool>,
}

impl Modes {
    /// Takes the routes from the table; `initial` are those of a database that has none yet.
    pub(crate) async fn open(database: Database, initial: [(Concern, Mode); 2]) -> anyhow::Result<Modes> {
        for (concern, mode) in initial {
            table::begin(&database, concern, Route::all(mode), now()).await.context("could not prepare the modes")?;
        }
        let modes =
            Modes { database, routes: Arc::default(), changing: Arc::default(), gate: watch::Sender::new(false) };
        modes.refresh().await.context("could not read the modes")?;
        Ok(modes)
    }

    pub(crate) fn route(&self, concern: Concern) -> Route {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.of.get(&concern).copied().unwrap_or(Route::all(Mode::Events))
    }

    /// Writes into an event who does what follows from it.
    pub(crate) fn stamp(&self, event: &mut Event, user_id: Uuid) {
        for concern in Concern::ALL {
            let mode = self.route(concern).of(concern, user_id);
            event.extensions.insert(concern.as_str().to_owned(), mode.as_str().to_owned());
        }
    }

    /// Whether some of the traffic is compared.
    pub(crate) fn compares(&self, concern: Concern) -> bool {
        self.route(concern).share(Mode::Dual) > 0
    }

    /// For the relay: a pure monolith talks to no broker.
    pub(crate) fn gate(&self) -> watch::Receiver<bool> {
        self.gate.subscribe()
    }

    /// Changes a route from one request to the next. More traffic for the service needs a clean comparison.
    pub(crate) async fn change(&self, concern: Concern, change: Change) -> Result<Route, ChangeError> {
        let _one = self.changing.lock().await;
        let before = self.route(concern);
        let after = before.changed(change.mode, change.percent);
        let promoted = after.share(Mode::Events) > before.share(Mode::Events);
        if promoted && !change.force {
            if before.share(Mode::Dual) == 0 {
                return Err(ChangeError::NotClean("nothing is being compared, go to `dual` first"));
            }
            let comparison = comparison::read(&self.database, concern, now()).await?;
            comparison.clean().map_err(ChangeError::NotClean)?;
        }
        // A comparison is of one candidate: asking for `dual` again starts another.
        let restart = change.mode == Mode::Dual;
        table::set(&self.database, concern, after, restart, now()).await?;
        {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.of.insert(concern, after);
            routes.changes += 1;
        }
        self.set_gate();
        let (from, to, percent) = (before.mode.as_str(), after.mode.as_str(), after.percent);
        info!(name: "faultline.mode.changed", concern = concern.as_str(), from, to, percent, forced = change.force,
            "{concern} went from {from} to {to} for {percent} % of the traffic");
        Ok(after)
    }

    pub(crate) async fn comparison(&self, concern: Concern) -> sqlx::Result<Comparison> {
        comparison::read(&self.database, concern, now()).await
    }

    /// Keeps up, until `stop`, with another core on this database: there are two while one hands over.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let mut clock = tokio::time::interval(table::REFRESH_EVERY);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        while stop.run_until_cancelled(clock.tick()).await.is_some() {
            match self.refresh().await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    warn!(exception.message = %error, "could not look whether another core changed a mode: {error}");
                }
                Err(_) => {}
            }
        }
    }

    /// Holds nobody up: what is changed here while the table is read is newer than what was read.
    async fn refresh(&self) -> sqlx::Result<()> {
        let before = self.routes.read().unwrap_or_else(PoisonError::into_inner).changes;
        let stored = table::all(&self.database).await?;
        {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            if routes.changes == before {
                routes.of.extend(stored);
            }
        }
        self.set_gate();
        Ok(())
    }

    fn set_gate(&self) {
        let alone = Concern::ALL.into_iter().all(|concern| self.route(concern).share(Mode::Inline) == 100);
        self.gate.send_if_modified(|open| std::mem::replace(open, !alone) == alone);
    }
}
