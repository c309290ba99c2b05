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

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use store::{Piece, Shipment};

pub(super) use args::Args;
pub(super) use copying::Copying;

use listing::Listed;

pub(super) struct Bucket {
    client: Arc<dyn ObjectStore>,
    /// Folder of everything.
    folder: Path,
    part_bytes: usize,
}

impl Bucket {
    pub(super) fn new(url: &str, args: &Args, timeout: Duration) -> anyhow::Result<Bucket> {
        let (client, folder) = open::open(url, args, timeout)?;
        Ok(Bucket { client, folder, part_bytes: args.s3_out_part_bytes })
    }

    /// Returns the pieces that are there and named: all but those whose file is gone, which was merged into another meanwhile.
    async fn copy(&self, shipment: Shipment) -> anyhow::Result<Vec<Piece>> {
        let (mut copied, mut named) = (Vec::new(), Vec::new());
        for piece in shipment.pieces {
            let to = self.at(&piece.name);
            let sha256 = match upload::upload(&*self.client, &piece.file.path, &to, self.part_bytes).await {
                Ok(Some(sha256)) => sha256,
                Ok(None) => continue,
                Err(error) if copied.is_empty() => return Err(error.context(format!("could not copy {}", piece.name))),
                // What has arrived counts. This one is tried again, and if it fails again, alone.
                Err(_) => break,
            };
            let store::ColdFile { rows, bytes, time_min, time_max, .. } = piece.file;
            named.push(Listed { path: piece.name.clone(), rows, bytes, time_min, time_max, sha256 });
            copied.push(piece);
        }
        if copied.is_empty() {
            bail!("no file that {} should name is on the disk any more", shipment.listing);
        }
        let gone: Vec<String> = copied.iter().flat_map(|piece| piece.replaces.iter().cloned()).collect();
        listing::update(&*self.client, &self.at(&shipment.listing), &named, &gone).await?;
        Ok(copied)
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
        Path::from(format!("{}/{name}", self.folder))
    }
}
