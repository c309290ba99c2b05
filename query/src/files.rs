//! The one way to a file: an address only the store's own scans name.
//!
//! No scheme of SQL reaches it, and no other address exists, so a question cannot name a file even by accident.

use std::sync::Arc;

use datafusion::common::exec_err;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

const ADDRESS: &str = "store://files/";

pub(crate) fn url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse(ADDRESS).expect("a constant that parses")
}

/// Knows local files under [`url()`] and nothing else; nothing can be added.
#[derive(Debug)]
pub(crate) struct OnlyStoredFiles {
    files: Arc<dyn ObjectStore>,
}

impl OnlyStoredFiles {
    pub(crate) fn new() -> OnlyStoredFiles {
        OnlyStoredFiles { files: Arc::new(LocalFileSystem::new()) }
    }
}

impl ObjectStoreRegistry for OnlyStoredFiles {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match url.as_str() == ADDRESS {
            true => Ok(Arc::clone(&self.files)),
            false => exec_err!("no files at {url}"),
        }
    }
}
