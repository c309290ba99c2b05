//! The writer's side of the manifest: one change at a time, and what to do when the disk does not say whether it happened.

use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::faults::Faults;
use crate::layout::Layout;
use crate::manifest::{Manifest, Stored};
use crate::{StoreError, lock};

#[derive(Debug)]
pub(crate) struct Catalog {
    layout: Layout,
    faults: Faults,
    /// Held while a change is written.
    changing: Mutex<()>,
    current: RwLock<Arc<Manifest>>,
    failed: OnceLock<String>,
}

impl Catalog {
    /// Writes the first manifest of a folder that has none, so that no data file is ever older than a manifest.
    pub(crate) fn open(layout: Layout, faults: Faults, manifest: Option<Manifest>) -> Result<Catalog, StoreError> {
        let new = manifest.is_none();
        let current = RwLock::new(Arc::new(manifest.unwrap_or_else(Manifest::empty)));
        let catalog = Catalog { layout, faults, changing: Mutex::new(()), current, failed: OnceLock::new() };
        if new {
            catalog.change(|_| ())?;
        }
        Ok(catalog)
    }

    pub(crate) fn current(&self) -> Arc<Manifest> {
        Arc::clone(&self.current.read().unwrap_or_else(|poison| poison.into_inner()))
    }

    /// Returns when the changed manifest is durable. Blocks on the disk.
    ///
    /// On [`StoreError::Write`] nothing has changed. [`StoreError::Failed`] is final: the new manifest may or may not survive
    /// a power loss, so no success may be said on top of it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let _one = lock(&self.changing);
        self.check()?;
        let mut next = Manifest::clone(&self.current());
        change(&mut next);
        next.version += 1;
        next.number_promotions();
        let path = self.layout.manifest();
        let stored = next
            .store(&self.layout, &self.faults)
            .map_err(|error| StoreError::write(format!("replace {}", path.display()), error))?;
        *self.current.write().unwrap_or_else(|poison| poison.into_inner()) = Arc::new(next);
        if let Stored::Unsure(error) = stored {
            self.fail(format!("could not make {} durable: {error}", path.display()));
        }
        self.check()
    }

    /// Final. The first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!("{reason}; nothing is accepted until a restart");
        let _ = self.failed.set(reason);
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Failed(reason.clone())),
        }
    }
}
