//! The object that names the current files of one table and day. Who reads what it names has every row once; what is in the folder
//! besides is not named yet, or no longer and about to be deleted.
//!
//! It is replaced as a whole and only as it was read, where the far end can do that (`PutMode::Update`): then several collectors
//! may keep files in one place.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::{Deserialize, Serialize};

/// Another number: written by a version this one does not understand.
const FORMAT: u32 = 1;
/// Attempts when others replace it at the same time; each time one of them has succeeded.
const ATTEMPTS_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    format: u32,
    files: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Below the address of the bucket.
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Smallest and largest `time`, nanoseconds.
    pub(super) time_min: i64,
    pub(super) time_max: i64,
    /// Of the whole file, hexadecimal.
    pub(super) sha256: String,
}

impl Listing {
    /// Sorted by path, and so by hour.
    fn with(&self, named: &[Listed], gone: &[String]) -> Listing {
        let known = self.files.iter().filter(|file| !gone.contains(&file.path)).chain(named);
        let files: BTreeMap<&str, &Listed> = known.map(|file| (file.path.as_str(), file)).collect();
        Listing { format: FORMAT, files: files.into_values().cloned().collect() }
    }
}

/// Names some and no longer names others, all at once. Doing it again changes nothing.
pub(super) async fn update(
    client: &dyn ObjectStore,
    at: &Path,
    named: &[Listed],
    gone: &[String],
) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let (before, mode) = read(client, at).await?;
        let after = before.with(named, gone);
        if after == before {
            return Ok(());
        }
        let body = serde_json::to_vec(&after)?;
        match put(client, at, body, mode).await {
            // Somebody else, or we ourselves by a call whose answer was lost.
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
            done => return done.with_context(|| format!("could not replace {at}")),
        }
    }
    bail!("others replaced {at} {ATTEMPTS_MAX} times meanwhile")
}

async fn read(client: &dyn ObjectStore, at: &Path) -> anyhow::Result<(Listing, PutMode)> {
    let found = match client.get(at).await {
        Err(Error::NotFound { .. }) => return Ok((Listing { format: FORMAT, files: Vec::new() }, PutMode::Create)),
        found => found.with_context(|| format!("could not read {at}"))?,
    };
    let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let bytes = found.bytes().await.with_context(|| format!("could not read {at}"))?;
    let listing: Listing = serde_json::from_slice(&bytes).with_context(|| format!("{at} is not a list of files"))?;
    if listing.format != FORMAT {
        bail!("the format of {at} is {}, this version reads {FORMAT}", listing.format);
    }
    Ok((listing, PutMode::Update(version)))
}

async fn put(client: &dyn ObjectStore, at: &Path, body: Vec<u8>, mode: PutMode) -> Result<(), Error> {
    let options = PutOptions { mode, ..PutOptions::default() };
    let put = match client.put_opts(at, body.clone().into(), options).await {
        // A folder: nobody but us writes there.
        Err(Error::NotImplemented { .. }) => client.put(at, body.into()).await,
        put => put,
    };
    put.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn listed(path: &str) -> Listed {
        Listed { path: path.to_owned(), rows: 1, bytes: 2, time_min: 3, time_max: 4, sha256: "5".to_owned() }
    }

    async fn paths(client: &dyn ObjectStore, at: &Path) -> Vec<String> {
        let (listing, _) = read(client, at).await.unwrap();
        listing.files.into_iter().map(|file| file.path).collect()
    }

    #[tokio::test]
    async fn files_are_named_once_and_take_the_place_of_others() {
        let (client, at) = (InMemory::new(), Path::from("spans/date=2026-11-30/_files.json"));
        update(&client, &at, &[listed("b"), listed("a")], &[]).await.unwrap();
        update(&client, &at, &[listed("c")], &["a".to_owned(), "never".to_owned()]).await.unwrap();
        assert_eq!(paths(&client, &at).await, ["b", "c"]);
        let version = client.head(&at).await.unwrap().e_tag;
        update(&client, &at, &[listed("c")], &["a".to_owned()]).await.unwrap();
        assert_eq!(client.head(&at).await.unwrap().e_tag, version, "what is so already is not written");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_collectors_lose_nothing_of_each_other() {
        let (client, at) = (Arc::new(InMemory::new()), Path::from("_files.json"));
        let name = |who: &str| (0..200).map(|n| format!("{who}{n:03}")).collect::<Vec<_>>();
        let mut writers = tokio::task::JoinSet::new();
        for who in ["a", "b"] {
            let (client, at, names) = (Arc::clone(&client), at.clone(), name(who));
            writers.spawn(async move {
                for path in names {
                    while update(&*client, &at, &[listed(&path)], &[]).await.is_err() {}
                }
            });
        }
        while writers.join_next().await.is_some() {}
        assert_eq!(paths(&*client, &at).await, [name("a"), name("b")].concat());
    }

    #[tokio::test]
    async fn what_is_not_ours_is_left_alone() {
        let (client, at) = (InMemory::new(), Path::from("_files.json"));
        for body in ["", "[]", r#"{"format":2,"files":[]}"#] {
            client.put(&at, body.as_bytes().to_vec().into()).await.unwrap();
            let error = update(&client, &at, &[listed("a")], &[]).await.unwrap_err();
            assert!(error.to_string().contains("_files.json"), "{error:#}");
            assert_eq!(client.get(&at).await.unwrap().bytes().await.unwrap(), body);
        }
    }
}
