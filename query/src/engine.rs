//! SQL over one data folder, in process.

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;

use crate::{Args, QueryError};

/// Answers SQL over one data folder. Cheap to clone; all clones share the limits.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    pub fn open(_args: &Args) -> Result<Engine, QueryError> {
        todo!()
    }

    /// Rows as they come; the stream ends with an error when a limit is passed.
    pub async fn sql(&self, _sql: &str) -> Result<SendableRecordBatchStream, QueryError> {
        todo!()
    }

    /// All rows of the answer.
    pub async fn collect(&self, _sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        todo!()
    }
}
