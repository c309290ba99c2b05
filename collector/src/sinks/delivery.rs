//! One sink and one signal: read, pack, send until it is there, mark as taken.

use std::sync::Arc;
use std::time::Duration;

use store::{Batches, Cursor, Handover};
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::pace::Pace;
use super::{Failure, Parcel, Sink};
use crate::sampling::Verdicts;

/// What a call under way gets after the stop signal. A call that is cut off may have succeeded: it is made again after the start.
const DRAIN_MAX: Duration = Duration::from_secs(3);

pub(super) struct Delivery {
    pub(super) sink: Arc<Sink>,
    pub(super) cursor: Cursor,
    /// Which rows go on; all when there is no tail sampling.
    pub(super) verdicts: Option<Arc<Verdicts>>,
    pub(super) account: Arc<Account>,
    pub(super) pace: Pace,
}

/// Asked to stop before the work was done.
struct Stopped;

impl Delivery {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let portion = self.sink.portion();
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = self.cursor.next(&portion) => next,
            };
            let done = match next {
                Ok(handover) => self.deliver(handover, &stop).await,
                Err(error) => self.failed(&error.to_string(), None, &stop).await,
            };
            if let Err(Stopped) = done {
                return;
            }
        }
    }

    async fn deliver(&mut self, handover: Handover, stop: &CancellationToken) -> Result<(), Stopped> {
        let (handover, parcels) = self.pack(handover).await;
        for parcel in parcels {
            self.send(&parcel, stop).await?;
        }
        while let Err(error) = self.cursor.taken(&handover).await {
            self.failed(&error.to_string(), None, stop).await?;
        }
        self.recovered();
        Ok(())
    }

    /// Comes back without the rows: a far end that is away for long should neither hold them in memory twice nor others up.
    ///
    /// Rows that cannot be packed never can: the fault is ours. They are counted, and the log has them for a while.
    async fn pack(&self, mut handover: Handover) -> (Handover, Vec<Parcel>) {
        let (sink, rows) = (Arc::clone(&self.sink), handover.clone());
        let (verdicts, account) = (self.verdicts.clone(), Arc::clone(&self.account));
        handover.batches = Batches::default();
        let pack = move || {
            let Some(verdicts) = verdicts else { return sink.pack(&rows) };
            let sampled = verdicts.sampled(&rows)?;
            account.left_out(rows.rows - sampled.rows);
            sink.pack(&sampled)
        };
        let packed = tokio::task::spawn_blocking(pack).await;
        let packed = packed.map_err(anyhow::Error::new).flatten();
        let parcels = packed.unwrap_or_else(|error| {
            self.account.refused(handover.rows, &format!("{} could not be packed: {error:#}", handover.name));
            Vec::new()
        });
        (handover, parcels)
    }

    async fn send(&mut self, parcel: &Parcel, stop: &CancellationToken) -> Result<(), Stopped> {
        loop {
            let sent = tokio::select! {
                sent = self.sink.send(parcel) => sent,
                () = drained(stop) => return Err(Stopped),
            };
            match sent {
                Ok(sent) => {
                    self.account.delivered(parcel.rows.saturating_sub(sent.rows_refused));
                    if sent.rows_refused > 0 || !sent.warning.is_empty() {
                        self.account.refused(sent.rows_refused, &sent.warning);
                    }
                    self.recovered();
                    return Ok(());
                }
                Err(Failure::Never { reason }) => {
                    self.account.refused(parcel.rows, &reason);
                    self.pace.succeeded();
                    return Ok(());
                }
                Err(Failure::Later { reason, after }) => self.failed(&reason, after, stop).await?,
            }
        }
    }

    async fn failed(&mut self, reason: &str, after: Option<Duration>, stop: &CancellationToken) -> Result<(), Stopped> {
        let wait = self.pace.failed(after);
        self.account.failed(reason, wait);
        tokio::select! {
            () = stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    fn recovered(&mut self) {
        self.pace.succeeded();
        self.account.works();
    }
}

/// When a call that was under way at the stop signal has had its time.
pub(super) async fn drained(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}
