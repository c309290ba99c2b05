//! One file, whole or not at all: in one request when it is small, in parts when it is large.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, bail};
use axum::body::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};

/// Parts under way at once: one is sent while the next is read.
const PARTS_MAX: usize = 2;

/// Its SHA-256, hexadecimal; none when there is no such file (any more). What a broken upload leaves in parts is removed, or left to
/// the rule of the bucket for incomplete uploads when the far end is away.
pub(super) async fn upload(
    client: &dyn ObjectStore,
    from: &std::path::Path,
    to: &Path,
    part_bytes: usize,
) -> anyhow::Result<Option<String>> {
    let Some(mut reading) = Reading::open(from, part_bytes).await? else { return Ok(None) };
    let first = reading.part().await?;
    if first.len() < part_bytes {
        client.put(to, first.into()).await?;
    } else {
        let mut parts = WriteMultipart::new_with_chunk_size(client.put_multipart(to).await?, part_bytes);
        if let Err(error) = send(&mut reading, first, &mut parts).await {
            // The upload has failed, whatever becomes of this.
            let _ = parts.abort().await;
            return Err(error);
        }
        parts.finish().await?;
    }
    let (bytes, there) = (reading.bytes, client.head(to).await?.size);
    if there != bytes {
        bail!("{to} has {there} bytes there and {bytes} here");
    }
    Ok(Some(format!("{:x}", reading.digest.finalize())))
}

async fn send(reading: &mut Reading, first: Bytes, parts: &mut WriteMultipart) -> anyhow::Result<()> {
    let mut part = first;
    while !part.is_empty() {
        parts.wait_for_capacity(PARTS_MAX).await?;
        parts.put(part);
        part = reading.part().await?;
    }
    Ok(parts.wait_for_capacity(1).await?)
}

/// A file read off the async threads.
struct Reading {
    file: Option<File>,
    part_bytes: usize,
    digest: Sha256,
    bytes: u64,
}

impl Reading {
    async fn open(path: &std::path::Path, part_bytes: usize) -> anyhow::Result<Option<Reading>> {
        let owned = path.to_owned();
        let file = match tokio::task::spawn_blocking(move || File::open(owned)).await? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(|| format!("could not open {}", path.display()))?,
        };
        Ok(Some(Reading { file: Some(file), part_bytes, digest: Sha256::new(), bytes: 0 }))
    }

    /// The next bytes; fewer than a part at the end, and then none.
    async fn part(&mut self) -> anyhow::Result<Bytes> {
        let Some(file) = self.file.take() else { bail!("reading has failed before") };
        let (part_bytes, mut digest) = (self.part_bytes as u64, self.digest.clone());
        let read = move || {
            let mut part = Vec::new();
            (&file).take(part_bytes).read_to_end(&mut part)?;
            digest.update(&part);
            Ok::<_, io::Error>((file, digest, part))
        };
        let (file, digest, part) = tokio::task::spawn_blocking(read).await?.context("could not read a file")?;
        (self.file, self.digest) = (Some(file), digest);
        self.bytes += part.len() as u64;
        Ok(part.into())
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn check(file_bytes: usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        let content: Vec<u8> = (0..file_bytes).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let (client, to) = (InMemory::new(), Path::from("spans/date=2026-11-30/hour=08/1.parquet"));
        let digest = upload(&client, &path, &to, 100).await.unwrap().unwrap();
        assert_eq!(client.get(&to).await.unwrap().bytes().await.unwrap(), content, "{file_bytes}");
        assert_eq!(digest, format!("{:x}", Sha256::digest(&content)));
    }

    #[tokio::test]
    async fn a_file_arrives_whole_however_many_parts_it_takes() {
        for file_bytes in [0, 1, 99, 100, 101, 1000, 1001] {
            check(file_bytes).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_gone_is_no_failure() {
        let path = std::path::Path::new("/nowhere/at/all");
        assert_eq!(upload(&InMemory::new(), path, &Path::from("a"), 100).await.unwrap(), None);
    }
}
