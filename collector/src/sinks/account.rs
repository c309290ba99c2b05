//! What one sink, or another reader of the log, did with one signal, for `/health`, the metrics and the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Signal;
use serde::Serialize;
use store::Lag;
use tracing::{error, info, warn};

use crate::notice::Notice;
use crate::refusal::cut;

/// Bytes of a far end's words that are remembered.
const REASON_BYTES_MAX: usize = 1024;

pub(crate) struct Account {
    sink: &'static str,
    signal: Signal,
    rows_delivered: AtomicU64,
    rows_refused: AtomicU64,
    rows_left_out: AtomicU64,
    failures: AtomicU64,
    state: Mutex<State>,
    failing: Notice,
    refusing: Notice,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Works,
    /// It is tried again.
    Fails {
        reason: String,
    },
    /// Until a person has looked and the process is started again.
    Rests {
        reason: String,
    },
}

/// What it did, and where it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Progress {
    pub sink: &'static str,
    pub signal: &'static str,
    pub state: &'static str,
    /// Why it does not work; empty while it does.
    pub reason: String,
    pub rows_delivered: u64,
    /// By the far end, for good.
    pub rows_refused: u64,
    /// By tail sampling.
    pub rows_left_out: u64,
    /// Attempts that are made again.
    pub failures: u64,
    /// None when it has no place in the log, because that could not be read.
    pub lag: Option<Lag>,
}

impl Account {
    pub(crate) fn new(sink: &'static str, signal: Signal) -> Account {
        Account {
            sink,
            signal,
            rows_delivered: AtomicU64::new(0),
            rows_refused: AtomicU64::new(0),
            rows_left_out: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            state: Mutex::new(State::Works),
            failing: Notice::default(),
            refusing: Notice::default(),
        }
    }

    pub(crate) fn delivered(&self, rows: u64) {
        self.rows_delivered.fetch_add(rows, Relaxed);
    }

    /// Of traces that were not sampled.
    pub(crate) fn left_out(&self, rows: u64) {
        self.rows_left_out.fetch_add(rows, Relaxed);
    }

    /// The far end will never have these rows.
    pub(crate) fn refused(&self, rows: u64, reason: &str) {
        self.rows_refused.fetch_add(rows, Relaxed);
        if let Some(unsaid) = self.refusing.due() {
            let (sink, signal, reason) = (self.sink, self.signal.name(), cut(reason.to_owned(), REASON_BYTES_MAX));
            warn!(
                sink.name = sink,
                otlp.signal = signal,
                refused.unsaid = unsaid,
                "{sink} does not take {rows} rows of {signal}, which are not sent again: {reason}"
            );
        }
    }

    pub(crate) fn failed(&self, reason: &str, wait: Duration) {
        self.failures.fetch_add(1, Relaxed);
        let reason = cut(reason.to_owned(), REASON_BYTES_MAX);
        let (sink, signal, seconds) = (self.sink, self.signal.name(), wait.as_secs_f64());
        if let Some(unsaid) = self.failing.due() {
            warn!(
                sink.name = sink,
                otlp.signal = signal,
                refused.unsaid = unsaid,
                "{sink} does not take {signal} now, the next attempt is in {seconds:.1} s: {reason}"
            );
        }
        *self.state() = State::Fails { reason };
    }

    pub(crate) fn works(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Works);
        if before != State::Works {
            let (sink, signal) = (self.sink, self.signal.name());
            info!(sink.name = sink, otlp.signal = signal, "{sink} takes {signal} again");
        }
    }

    pub(crate) fn rests(&self, reason: &str) {
        let (sink, signal) = (self.sink, self.signal.name());
        error!(sink.name = sink, otlp.signal = signal, "nothing of {signal} goes to {sink} until a restart: {reason}");
        *self.state() = State::Rests { reason: reason.to_owned() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With its lag, when it has a place in the log.
    pub(crate) fn progress(&self, lags: &[Lag]) -> Progress {
        let lag = lags.iter().find(|lag| (lag.sink.as_str(), lag.signal) == (self.sink, self.signal.name()));
        let lost = lag.is_some_and(|lag| lag.lost_rows > 0);
        let (state, reason) = match &*self.state() {
            State::Works if lost => ("works, rows were lost", String::new()),
            State::Works => ("works", String::new()),
            State::Fails { reason } if lost => ("fails, rows are lost", reason.clone()),
            State::Fails { reason } => ("fails", reason.clone()),
            State::Rests { reason } => ("rests", reason.clone()),
        };
        Progress {
            sink: self.sink,
            signal: self.signal.name(),
            state,
            reason,
            rows_delivered: self.rows_delivered.load(Relaxed),
            rows_refused: self.rows_refused.load(Relaxed),
            rows_left_out: self.rows_left_out.load(Relaxed),
            failures: self.failures.load(Relaxed),
            lag: lag.cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_what_is_wrong_until_it_works_again() {
        let account = Account::new("clickhouse", Signal::Logs);
        let mut lag = Lag { sink: "clickhouse".into(), signal: "logs", ..Lag::default() };
        let state = |lag: &Lag| account.progress(std::slice::from_ref(lag)).state;
        assert_eq!(state(&lag), "works");
        account.failed("connection refused", Duration::from_secs(1));
        assert_eq!(state(&lag), "fails");
        assert_eq!(account.progress(&[]).reason, "connection refused");
        lag.lost_rows = 1;
        assert_eq!(state(&lag), "fails, rows are lost");
        account.works();
        assert_eq!(state(&lag), "works, rows were lost");
        assert_eq!(account.progress(&[]).failures, 1);
        account.rests("the place is damaged");
        assert_eq!(account.progress(&[]).state, "rests");
    }
}
