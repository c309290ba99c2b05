//! One core at a time does what is done in the background: while a deploy lets two of them share a database, the newer waits
//! until the older has ended.
//!
//! The relay keeps the order of events by key, which two of them could not; and what a core finds half done may still be in
//! the hands of the other.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How soon the newer one notices that it is its turn.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A place in the queue, and the turn when it has come. Given back when it is dropped, and by the kernel when the process dies.
pub(crate) struct Turn {
    lock: File,
    mine: bool,
}

impl Turn {
    /// Queues among the cores of one data folder; it is ours at once where no other runs.
    pub(crate) fn queue(data_dir: &Path) -> anyhow::Result<Turn> {
        let path = data_dir.join("product/core.turn");
        let create = || {
            std::fs::create_dir_all(data_dir.join("product"))?;
            File::create(&path)
        };
        let mut turn =
            Turn { lock: create().with_context(|| format!("could not create {}", path.display()))?, mine: false };
        turn.look().with_context(|| format!("could not lock {}", path.display()))?;
        Ok(turn)
    }

    pub(crate) fn is_mine(&self) -> bool {
        self.mine
    }

    /// True when it has come, false when `stop` came first.
    pub(crate) async fn come(&mut self, stop: &CancellationToken) -> anyhow::Result<bool> {
        if !self.mine {
            info!("another core still runs here: events wait until it has ended");
        }
        while !self.mine {
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return Ok(false);
            }
            self.look().context("could not lock the turn of core")?;
        }
        Ok(true)
    }

    fn look(&mut self) -> std::io::Result<()> {
        match self.lock.try_lock() {
            Ok(()) => self.mine = true,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_end_of_the_first_or_for_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, mut second) = (Turn::queue(folder.path()), Turn::queue(folder.path()).expect("no obstacle"));
        assert!(first.as_ref().is_ok_and(Turn::is_mine) && !second.is_mine());

        let stopped = CancellationToken::new();
        stopped.cancel();
        assert!(!second.come(&stopped).await.expect("no obstacle"), "who is told to stop does not wait");
        drop(first);
        assert!(second.come(&CancellationToken::new()).await.expect("no obstacle"));
    }
}
