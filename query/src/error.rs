//! Why a question got no answer: one variant for each thing the asker can do about it.

use datafusion::error::DataFusionError;

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong: syntax, names, types, or values that cannot be computed.
    #[error("{0}")]
    Question(String),
    /// The question asks for something else than reading.
    #[error("{0}; only questions are answered here (SELECT, WITH, EXPLAIN, DESCRIBE, SHOW TABLES)")]
    ReadOnly(String),
    #[error("{0}")]
    Unknown(String),
    #[error(
        "the query took longer than {seconds} s; narrow it, for example by a predicate on time (--query-seconds-max)"
    )]
    Slow { seconds: u64 },
    #[error("{0}")]
    TooLarge(String),
    #[error(
        "{waiting} queries are already waiting for their turn; try again in a moment (--query-waiting-max)"
    )]
    Busy { waiting: usize },
    /// Not the asker's fault.
    #[error("{0}")]
    Internal(String),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        QueryError::Question(error.to_string())
    }
}
