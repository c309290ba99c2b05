//! What the business asks of its events: revenue and activity by day, kept as projections.
//!
//! Consumes `users` and `payments`. Each projection is changed in the transaction that also
//! writes the inbox row, so an event counts once however often it is delivered.

mod args;
mod database;
mod event;
mod evidence;
mod handler;
mod http;
mod metrics;
mod projections;
mod reports;
mod server;

pub use args::Args;
pub use handler::Analytics;
pub use reports::{Activity, Revenue};
pub use server::{Server, run};

/// `service.name` of this process, and the name of its consumer group.
pub const SERVICE: &str = "analytics";
