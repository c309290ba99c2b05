//! Reports to whoever runs the business: aggregated here over the tables that customers use, asked of the analytics
//! service, or both.

mod compare;
mod service;

use std::sync::Arc;

use product_analytics::reports::{self, Query, Report};
use product_bus::database::Database;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, instrument};

use crate::metrics::Metrics;
use crate::modes::{Concern, Mode, Modes};
use service::Service;

/// Comparisons under way. Each holds the rows of one report; a question beyond that is answered and not compared.
const COMPARISONS_MAX: usize = 2;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The reports are at a service that gave no usable answer.
    #[error("the analytics service gave no usable answer")]
    Away(#[source] anyhow::Error),
    #[error("could not aggregate the report")]
    Database(#[from] sqlx::Error),
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reports {
    database: Database,
    modes: Modes,
    metrics: Arc<Metrics>,
    service: Service,
    places: Arc<Semaphore>,
    /// Comparisons go on when the answer is out; shutdown gives them up.
    tasks: TaskTracker,
}

impl Reports {
    /// `token` is what the service asks operators for.
    pub(crate) fn new(
        database: Database,
        modes: Modes,
        metrics: Arc<Metrics>,
        analytics_url: &str,
        token: Option<String>,
    ) -> Reports {
        let service = Service::new(analytics_url, token);
        let places = Arc::new(Semaphore::new(COMPARISONS_MAX));
        Reports { database, modes, metrics, service, places, tasks: TaskTracker::new() }
    }

    /// The rows of a report, the same wherever they come from.
    #[instrument(name = "report", skip_all, fields(report = %report))]
    pub(crate) async fn rows(&self, report: Report, query: Query) -> Result<Vec<Value>, ReportError> {
        match self.modes.route(Concern::Analytics).drawn() {
            Mode::Inline => self.aggregated(report, &query).await,
            Mode::Dual => self.compared(report, query).await,
            Mode::Events => self.service.rows(report, &query).await.map_err(ReportError::Away),
        }
    }

    async fn aggregated(&self, report: Report, query: &Query) -> Result<Vec<Value>, ReportError> {
        let mut connection = self.database.read().await?;
        Ok(reports::rows(&mut connection, report, query, None).await?)
    }

    /// Core's own answer; the service is asked the same beside it.
    async fn compared(&self, report: Report, query: Query) -> Result<Vec<Value>, ReportError> {
        let place = self.places.clone().try_acquire_owned().ok();
        let control = match &place {
            Some(_) => self.control(report, &query).await?,
            None => None,
        };
        let Some(control) = control else { return self.aggregated(report, &query).await };
        let rows = control.rows.clone();
        let reports = self.clone();
        let comparing = async move {
            reports.compare(report, query, control).await;
            drop(place);
        };
        self.tasks.spawn(comparing.in_current_span());
        Ok(rows)
    }
}
