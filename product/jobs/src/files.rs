//! A folder of files that are written whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates it if it is missing.
    pub(crate) async fn open(path: PathBuf) -> io::Result<Folder> {
        tokio::fs::create_dir_all(&path).await?;
        Ok(Folder { path })
    }

    /// When this returns the file survives power loss. What was there before under that name is replaced.
    pub(crate) async fn write(&self, name: &str, content: String) -> io::Result<()> {
        let path = self.path.join(name);
        tokio::task::spawn_blocking(move || replace(&path, content.as_bytes())).await.map_err(io::Error::other)?
    }

    /// `None`: there is no such file. Only names that we made may get here, never a text of somebody else's.
    pub(crate) async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match tokio::fs::read(self.path.join(name)).await {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The whole file or the old one: a reader never meets half of one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A name of its own for each writer: two that overlap both leave a whole file.
    let temporary = path.with_extension(format!("{}.tmp", Uuid::new_v4()));
    let written = File::create_new(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The failure itself is what the caller needs to know; a leftover is only untidy.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writing_again_leaves_a_single_whole_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Folder::open(folder.path().join("below")).await.expect("opened");
        assert_eq!(files.read("a.html").await.expect("looked"), None);
        for content in ["first, and longer", "second"] {
            files.write("a.html", content.to_owned()).await.expect("written");
        }
        assert_eq!(files.read("a.html").await.expect("read").as_deref(), Some("second".as_bytes()));
        assert_eq!(std::fs::read_dir(folder.path().join("below")).expect("listed").count(), 1);
    }
}
