//! What comes from files that change while we run: certificates are renewed, tokens replaced.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

type Read<T> = Box<dyn Fn() -> anyhow::Result<T> + Send + Sync>;

/// When each file was written and how long it is; None for one that cannot be looked at.
type Stamps = Vec<Option<(SystemTime, u64)>>;

pub(crate) struct Reload<T> {
    /// What the files are, in a sentence.
    what: &'static str,
    paths: Vec<PathBuf>,
    read: Read<T>,
    current: RwLock<Arc<T>>,
    stamps: Mutex<Stamps>,
}

impl<T: Send + Sync + 'static> Reload<T> {
    /// Reads them for the first time; what is wrong then is wrong with the settings.
    pub(crate) fn new(what: &'static str, paths: Vec<PathBuf>, read: Read<T>) -> anyhow::Result<Arc<Reload<T>>> {
        // Before reading: a change in between is seen as one afterwards.
        let stamps = Mutex::new(stamps(&paths));
        let current = RwLock::new(Arc::new(read()?));
        Ok(Arc::new(Reload { what, paths, read, current, stamps }))
    }

    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn follow(self: &Arc<Self>, every: Duration, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.cancelled() => return,
            }
            let this = Arc::clone(self);
            // A panic is none of the files' doing and has been said; the next look is a new one.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes over what changed. Files that make no sense change nothing: the next of them may complete the set.
    fn look(&self) {
        let found = stamps(&self.paths);
        {
            let mut seen = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return;
            }
            *seen = found;
        }
        match (self.read)() {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                info!("{} changed and were read again", self.what);
            }
            Err(error) => {
                let what = self.what;
                error!(
                    exception.message = format!("{error:#}"),
                    "{what} changed and are not used, those before them are: {error:#}"
                );
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_change_is_taken_over_and_nonsense_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("number");
        std::fs::write(&path, "1").expect("it can be written");
        let from = path.clone();
        let read = move || std::fs::read_to_string(&from)?.trim().parse::<u32>().context("no number");
        let number = Reload::new("the number", vec![path.clone()], Box::new(read)).expect("1 is a number");
        assert_eq!(*number.current(), 1);

        // Lengths differ, so this does not hang on how fine the clock of the file system is.
        for (text, expected) in [("22", 22), ("nonsense", 22), ("333", 333)] {
            std::fs::write(&path, text).expect("it can be written");
            number.look();
            assert_eq!(*number.current(), expected, "{text}");
        }
        std::fs::remove_file(&path).expect("it is there");
        number.look();
        assert_eq!(*number.current(), 333, "what was read stays");
    }
}
