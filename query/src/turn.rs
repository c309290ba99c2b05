//! Who may run now: a few queries at a time, a bounded number that waits, and a deadline from the moment of asking.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::Span;

use crate::metrics::Metrics;
use crate::{Limits, QueryError};

pub(crate) struct Turns {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    waiting_max: usize,
    time_max: Duration,
    metrics: Arc<Metrics>,
}

/// The right to run until the deadline; given back, and measured, on drop.
pub(crate) struct Turn {
    asked: Instant,
    time_max: Duration,
    outcome: &'static str,
    metrics: Arc<Metrics>,
    /// Of whoever asked.
    span: Span,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Turns {
    pub(crate) fn new(limits: &Limits) -> Turns {
        let running = limits.query_concurrent_max.max(1);
        let admitted_max = running + limits.query_waiting_max;
        let admitted = Arc::new(Semaphore::new(admitted_max));
        Turns {
            metrics: Arc::new(Metrics::new(&admitted, admitted_max)),
            admitted,
            running: Arc::new(Semaphore::new(running)),
            waiting_max: limits.query_waiting_max,
            time_max: limits.time_max(),
        }
    }

    pub(crate) async fn next(&self) -> Result<Turn, QueryError> {
        let asked = Instant::now();
        let busy = || {
            self.metrics.refused.add(1, &[]);
            QueryError::Busy { waiting: self.waiting_max }
        };
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_full| busy())?;
        let slow = || QueryError::Slow { seconds: self.time_max.as_secs() };
        let running = tokio::time::timeout_at(asked + self.time_max, Arc::clone(&self.running).acquire_owned())
            .await
            .map_err(|_elapsed| slow())?
            .map_err(|_closed| busy())?;
        Ok(Turn {
            asked,
            time_max: self.time_max,
            outcome: "abandoned",
            metrics: Arc::clone(&self.metrics),
            span: Span::current(),
            _permits: [admitted, running],
        })
    }
}

impl Turn {
    pub(crate) fn deadline(&self) -> Instant {
        self.asked + self.time_max
    }

    pub(crate) fn slow(&self) -> QueryError {
        QueryError::Slow { seconds: self.time_max.as_secs() }
    }

    /// How it ended, for the metrics; `abandoned` when nobody says.
    pub(crate) fn ended(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.metrics.record(self.asked.elapsed(), self.outcome, &self.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(concurrent: usize, waiting: usize, seconds: u64) -> Turns {
        let limits = Limits {
            query_concurrent_max: concurrent,
            query_waiting_max: waiting,
            query_seconds_max: seconds,
            ..Limits::default()
        };
        Turns::new(&limits)
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_told_so() {
        let turns = turns(1, 0, 60);
        let first = turns.next().await.unwrap();
        assert!(matches!(turns.next().await, Err(QueryError::Busy { waiting: 0 })));
        drop(first);
        assert!(turns.next().await.is_ok());
    }

    #[tokio::test]
    async fn waiting_counts_against_the_time() {
        let turns = turns(1, 1, 0);
        let _first = turns.next().await.unwrap();
        assert!(matches!(turns.next().await, Err(QueryError::Slow { seconds: 0 })));
    }
}
