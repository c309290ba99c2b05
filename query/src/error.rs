//! Why a question got no answer: one variant for each thing the asker can do about it.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong: syntax, names, types, or values that cannot be computed.
    #[error("{0}")]
    Question(String),
    /// The question asks for something else than reading.
    #[error("{0}; only questions are answered here: SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW")]
    ReadOnly(String),
    /// There is no such thing, now.
    #[error("{0}")]
    Unknown(String),
    #[error(
        "the query took longer than {seconds} s; narrow it, for example by a predicate on time (limit: --query-seconds-max)"
    )]
    Slow { seconds: u64 },
    #[error("{0}")]
    TooLarge(String),
    #[error("{waiting} queries already wait for their turn; try again in a moment (limit: --query-waiting-max)")]
    Busy { waiting: usize },
    /// Not the asker's fault.
    #[error("{0}")]
    Internal(String),
}

impl QueryError {
    /// One word for metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            QueryError::Question(_) => "question",
            QueryError::ReadOnly(_) => "read_only",
            QueryError::Unknown(_) => "unknown",
            QueryError::Slow { .. } => "slow",
            QueryError::TooLarge(_) => "too_large",
            QueryError::Busy { .. } => "busy",
            QueryError::Internal(_) => "internal",
        }
    }

    pub(crate) fn too_many_rows(max: usize) -> QueryError {
        QueryError::TooLarge(format!(
            "the answer has more than {max} rows; add LIMIT, aggregate, or narrow the time (limit: --query-answer-rows-max)"
        ))
    }

    pub(crate) fn too_many_bytes(max: usize) -> QueryError {
        QueryError::TooLarge(format!(
            "the answer is larger than {max} bytes; select fewer columns or rows (limit: --query-answer-bytes-max)"
        ))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let sentence = error.strip_backtrace();
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge(format!(
                "the query needs more memory than it may use (limit: --query-memory-bytes-max): {sentence}"
            )),
            DataFusionError::ArrowError(cause, _) if spilled_too_much(cause) => QueryError::TooLarge(
                "the query needs more temporary files than it may write (limit: --query-spill-bytes-max)".to_owned(),
            ),
            DataFusionError::IoError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::ParquetError(_)
            | DataFusionError::Internal(_)
            | DataFusionError::ExecutionJoin(_)
            | DataFusionError::External(_) => QueryError::Internal(sentence),
            DataFusionError::ArrowError(cause, _)
                if matches!(**cause, ArrowError::IoError(..) | ArrowError::ExternalError(_)) =>
            {
                QueryError::Internal(sentence)
            }
            _ => QueryError::Question(sentence),
        }
    }
}

/// The limit on temporary files arrives as an I/O error that only its text tells apart.
fn spilled_too_much(error: &ArrowError) -> bool {
    matches!(error, ArrowError::IoError(text, _) if text.contains("used disk space during the spilling process"))
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        QueryError::Internal(error.to_string())
    }
}
