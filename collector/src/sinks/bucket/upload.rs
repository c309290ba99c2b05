//! One file, whole or not at all: in one request when it is small, in parts when it is large.

use std::fs::File;
use std::io::{self, Read};

use axum::body::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};

/// Parts under way at once: one is sent while the next is read.
const PARTS_MAX: usize = 2;

/// Why it is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The fault is here, and does not go away.
    #[error("could not read it")]
    Read(#[from] io::Error),
    /// The fault is there, or in between.
    #[error("could not write it")]
    Write(#[from] object_store::Error),
}

/// The SHA-256, hexadecimal, of the file of `bytes`. What a broken upload leaves in parts is removed, or left to the rule of the bucket for incomplete uploads
/// when the far end is away.
pub(super) async fn upload(
    client: &dyn ObjectStore,
    file: &std::path::Path,
    bytes: u64,
    to: &Path,
    part_bytes: usize,
) -> Result<String, Failure> {
    let mut reading = Reading::open(file, part_bytes).await?;
    let first = reading.part().await?;
    if first.len() < part_bytes {
        reading.check(bytes)?;
        client.put(to, first.into()).await?;
    } else {
        let mut parts = WriteMultipart::new_with_chunk_size(client.put_multipart(to).await?, part_bytes);
        let sent = send(&mut reading, first, &mut parts).await;
        if let Err(error) = sent.and_then(|()| Ok(reading.check(bytes)?)) {
            // The upload has failed, whatever becomes of this.
            let _ = parts.abort().await;
            return Err(error);
        }
        parts.finish().await?;
    }
    let there = client.head(to).await?.size;
    if there != bytes {
        let source = format!("{bytes} bytes became {there}").into();
        return Err(object_store::Error::Generic { store: "copy", source }.into());
    }
    Ok(format!("{:x}", reading.digest.finalize()))
}

async fn send(reading: &mut Reading, first: Bytes, parts: &mut WriteMultipart) -> Result<(), Failure> {
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
    async fn open(path: &std::path::Path, part_bytes: usize) -> io::Result<Reading> {
        let path = path.to_owned();
        let file = tokio::task::spawn_blocking(move || File::open(path)).await??;
        Ok(Reading { file: Some(file), part_bytes, digest: Sha256::new(), bytes: 0 })
    }

    /// The next bytes; fewer than a part at the end, and then none.
    async fn part(&mut self) -> io::Result<Bytes> {
        let file = self.file.take().ok_or_else(|| io::Error::other("reading has failed before"))?;
        let (part_bytes, mut digest) = (self.part_bytes as u64, self.digest.clone());
        let read = move || {
            let mut part = Vec::new();
            (&file).take(part_bytes).read_to_end(&mut part)?;
            digest.update(&part);
            Ok::<_, io::Error>((file, digest, part))
        };
        let (file, digest, part) = tokio::task::spawn_blocking(read).await??;
        (self.file, self.digest) = (Some(file), digest);
        self.bytes += part.len() as u64;
        Ok(part.into())
    }

    /// Whether all of it was read.
    fn check(&self, bytes: u64) -> io::Result<()> {
        match self.bytes == bytes {
            true => Ok(()),
            false => Err(io::Error::other(format!("it has {} bytes instead of {bytes}", self.bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use object_store::memory::InMemory;

    use super::*;

    fn file(folder: &std::path::Path, content: &[u8]) -> PathBuf {
        let path = folder.join("a file");
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn check(file_bytes: usize) {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..file_bytes).map(|at| (at % 251) as u8).collect();
        let file = file(folder.path(), &content);
        let (client, to) = (InMemory::new(), Path::from("spans/date=2026-11-30/hour=08/1.parquet"));
        let digest = upload(&client, &file, file_bytes as u64, &to, 100).await.unwrap();
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
    async fn a_file_that_is_gone_or_cut_is_not_there_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let (client, to) = (InMemory::new(), Path::from("a"));
        for content in [&[0; 10][..], &[0; 1000]] {
            let (cut, bytes) = (file(folder.path(), content), content.len() as u64);
            for (file, bytes) in [(cut, bytes + 1), ("/nowhere/at/all".into(), bytes)] {
                let failure = upload(&client, &file, bytes, &to, 100).await.unwrap_err();
                assert!(matches!(failure, Failure::Read(_)), "{failure:?}");
                assert!(client.head(&to).await.is_err());
            }
        }
    }
}
