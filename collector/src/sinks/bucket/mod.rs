//! Copies of Parquet files where objects are kept: S3, and what speaks like it or instead of it.
//!
//! Which file is due, and which copy is not needed any more, the store says (`store::Shelf`). A copy has the path it has on the disk
//! (`upload`). A reader learns from the `listing` of a table and day which of them are the data: a file is named there when it is
//! whole, in the same moment in which what it replaces is not; that is deleted some time later.

mod args;
mod copying;
mod listing;
mod open;
mod upload;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use store::{ColdFile, Piece, Shipment};
use tokio::sync::Mutex;

pub(super) use args::Args;
pub(super) use copying::Copying;

use listing::Listed;
use upload::Failure;

pub(super) struct Bucket {
    client: Arc<dyn ObjectStore>,
    /// Folder of everything.
    folder: Path,
    part_bytes: usize,
    /// Held by a file of several parts: they take memory, so these files go one at a time.
    turn: Mutex<()>,
}

/// What became of a shipment: the rest of it is due again.
#[derive(Default)]
struct Copied {
    /// There and named.
    pieces: Vec<Piece>,
    unreadable: Vec<(Piece, io::Error)>,
}

impl Bucket {
    pub(super) fn new(url: &str, args: &Args, timeout: Duration) -> anyhow::Result<Bucket> {
        let (client, folder) = open::open(url, args, timeout)?;
        Ok(Bucket { client, folder, part_bytes: args.s3_out_part_bytes, turn: Mutex::default() })
    }

    async fn copy(&self, shipment: Shipment) -> anyhow::Result<Copied> {
        let (mut copied, mut named) = (Copied::default(), Vec::new());
        for piece in shipment.pieces {
            match self.upload(&piece).await {
                Ok(sha256) => {
                    let ColdFile { rows, bytes, time_min, time_max, .. } = piece.file;
                    named.push(Listed { path: piece.name.clone(), rows, bytes, time_min, time_max, sha256 });
                    copied.pieces.push(piece);
                }
                Err(Failure::Read(error)) => copied.unreadable.push((piece, error)),
                // What has arrived counts. This one is tried again, and if it fails again, first.
                Err(Failure::Write(_)) if !named.is_empty() => break,
                Err(error) => return Err(error).with_context(|| format!("could not copy {}", piece.name)),
            }
        }
        if !named.is_empty() {
            let gone: Vec<String> = copied.pieces.iter().flat_map(|piece| piece.replaces.iter().cloned()).collect();
            listing::update(&*self.client, &self.at(&shipment.listing), &named, &gone).await?;
        }
        Ok(copied)
    }

    async fn upload(&self, piece: &Piece) -> Result<String, Failure> {
        let large = piece.file.bytes >= self.part_bytes as u64;
        let _turn = if large { Some(self.turn.lock().await) } else { None };
        upload::upload(&*self.client, &piece.file.path, piece.file.bytes, &self.at(&piece.name), self.part_bytes).await
    }

    async fn delete(&self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            match self.client.delete(&self.at(name)).await {
                Err(Error::NotFound { .. }) => {}
                deleted => deleted.with_context(|| format!("could not delete {name}"))?,
            }
        }
        Ok(())
    }

    fn at(&self, name: &str) -> Path {
        let mut at = self.folder.clone();
        at.extend(name.split('/'));
        at
    }
}
