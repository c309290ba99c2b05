//! What the business asks of its events: revenue and activity by day, the way of new customers to their second payment,
//! and who pays most.
//!
//! Consumes `users` and `payments`. Each event becomes a fact in the transaction that also writes the inbox row, so it
//! counts once however often it is delivered. [`reports`] are the questions, which core asks of its own tables.

pub mod faults;
pub mod reports;

mod args;
mod event;
mod facts;
mod handler;
mod http;
mod metrics;
mod server;

pub use args::Args;
pub use event::COUNTED;
pub use facts::migrations;
pub use handler::Analytics;
pub use server::{Server, run};

/// `service.name` of this process, and the name of its consumer group.
pub const SERVICE: &str = "analytics";
