//! What one query sees: each table is looked at once, whatever number of times the query names it.

use model::Table;
use store::{Reader, Snapshot};
use tokio::sync::OnceCell;

use datafusion::error::{DataFusionError, Result};

/// The snapshots of one query, taken when first needed. A join of a table with itself sees the same rows on both sides.
pub(crate) struct Moment {
    reader: Reader,
    snapshots: [OnceCell<Snapshot>; Table::ALL.len()],
}

impl Moment {
    pub(crate) fn new(reader: Reader) -> Moment {
        Moment { reader, snapshots: Default::default() }
    }

    pub(crate) async fn snapshot(&self, table: Table) -> Result<Snapshot> {
        let snapshot = self.snapshots[table as usize]
            .get_or_try_init(|| self.reader.snapshot(table))
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(snapshot.clone())
    }
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Moment").finish_non_exhaustive()
    }
}
