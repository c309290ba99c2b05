//! Receives OTLP and keeps it: receive, append, answer.

mod args;
mod server;

pub use args::{Args, Limits};
pub use server::{Server, run};
