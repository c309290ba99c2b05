//! Rows of the log in memory for those who read behind the writer: a few ranges at a time, however many there are to read them.

use std::ops::Deref;
use std::sync::Arc;

use model::Batch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Ranges in memory at once. Each takes a few times what it takes in the log, and what reads it works on a core.
const RANGES_MAX: usize = 2;

/// The room there is.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// One a table, none of them empty. As long as they are held, others may have to wait for theirs.
#[derive(Clone, Debug, Default)]
pub struct Batches {
    batches: Vec<Batch>,
    /// Given back with the last clone.
    place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(RANGES_MAX)))
    }
}

impl Room {
    /// Waits until there is room, in the order of asking.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

impl From<Vec<Batch>> for Batches {
    /// Without a place.
    fn from(batches: Vec<Batch>) -> Batches {
        Batches { batches, place: None }
    }
}

impl Batches {
    pub(crate) fn hold(&mut self, place: Option<OwnedSemaphorePermit>) {
        self.place = place.map(Arc::new);
    }

    /// Others in the same place, such as some of their rows.
    pub fn replaced(&self, batches: Vec<Batch>) -> Batches {
        Batches { batches, place: self.place.clone() }
    }
}

impl Deref for Batches {
    type Target = [Batch];

    fn deref(&self) -> &[Batch] {
        &self.batches
    }
}
