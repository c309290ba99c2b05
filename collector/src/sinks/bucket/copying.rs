//! One signal: what is due is done, and told to the store.

use std::sync::Arc;

use store::{Errand, Shelf, Terms};
use tokio_util::sync::CancellationToken;

use super::Bucket;
use crate::sinks::account::Account;
use crate::sinks::delivery::drained;
use crate::sinks::pace::Pace;

pub(crate) struct Copying {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) shelf: Shelf,
    pub(crate) terms: Terms,
    pub(crate) account: Arc<Account>,
    pub(crate) pace: Pace,
}

impl Copying {
    /// Until stopped. After a failure the store is asked anew: a file may be merged by then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let errand = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                errand = self.shelf.next(&self.terms) => errand,
            };
            let done = tokio::select! {
                done = async { self.run_errand(errand?).await } => done,
                () = drained(&stop) => return,
            };
            let Err(error) = done else {
                self.pace.succeeded();
                self.account.works();
                continue;
            };
            let wait = self.pace.failed(None);
            self.account.failed(&format!("{error:#}"), wait);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn run_errand(&self, errand: Errand) -> anyhow::Result<()> {
        match errand {
            Errand::Copy(shipment) => {
                let copied = self.bucket.copy(shipment).await?;
                copied.unreadable.iter().for_each(|(piece, error)| self.shelf.unreadable(piece, error));
                let rows = copied.pieces.iter().map(|piece| piece.file.rows).sum();
                self.shelf.copied(copied.pieces).await?;
                self.account.delivered(rows);
            }
            Errand::Delete(names) => {
                self.bucket.delete(&names).await?;
                self.shelf.deleted(names).await?;
            }
        }
        Ok(())
    }
}
