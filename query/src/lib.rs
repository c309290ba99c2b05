//! Answers: DataFusion over the store, by SQL, traces and standing questions. Reads only.

mod answer;
mod args;
mod bounds;
mod catalog;
mod engine;
mod error;
mod failure;
mod files;
mod format;
mod hex_ids;
mod http_sql;
mod http_traces;
mod metrics;
mod moment;
mod promoted;
mod server;
mod statement;
mod stored;
mod story;
mod text_table;
mod traces;
mod tree;
mod turn;
mod views;

pub use answer::Answer;
pub use args::{Args, Limits};
pub use engine::Engine;
pub use error::QueryError;
pub use server::{Server, run};
