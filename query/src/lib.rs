//! Answers: DataFusion over the store, by SQL, traces and standing questions. Reads only.

mod args;
mod engine;
mod error;
mod server;

pub use args::{Args, Limits};
pub use engine::Engine;
pub use error::QueryError;
pub use server::{Server, run};
