//! The one writer of a folder.

use model::{Batch, Signal};
use tokio_util::sync::CancellationToken;

use crate::{Args, Full, Status, StoreError};

/// The one writer of a folder; holds its lock until closed or dropped. Cheap to clone.
#[derive(Clone)]
pub struct Writer {}

impl Writer {
    /// Takes the lock, repairs what a crash left, starts a commit thread per signal.
    pub async fn open(_args: Args) -> Result<Writer, StoreError> {
        todo!()
    }

    /// A place for one request of about `bytes`, or why there is none. Reserve before decoding.
    pub fn reserve(&self, _signal: Signal, _bytes: usize) -> Result<Reservation, Full> {
        todo!()
    }

    /// Compacts, merges and deletes in the background until stopped. Run one per writer.
    pub async fn compact(&self, _stop: CancellationToken) -> Result<(), StoreError> {
        todo!()
    }

    /// Makes durable what was appended, refuses the rest, gives up the lock. A second call does nothing.
    pub async fn close(&self) -> Result<(), StoreError> {
        todo!()
    }

    pub fn status(&self) -> Status {
        todo!()
    }
}

/// A place in the queue. Dropping it gives the place back.
pub struct Reservation {}

impl Reservation {
    /// Returns after the fsync that covers the rows. All of them are in one frame: a crash keeps all or none.
    pub async fn append(self, _batches: Vec<Batch>) -> Result<(), StoreError> {
        todo!()
    }
}
