//! The work that a payment sets off: a receipt and a webhook, each done once per event.
//!
//! Consumes `payments`, writes receipts as HTML files and tells the merchant's webhook receiver.
//! What is a payment and when it changes is decided by core; this crate only reacts.

mod args;
mod database;
mod effects;
mod handler;
mod http;
mod metrics;
mod payment;
mod receipt;
mod server;
mod webhook;

pub use args::Args;
pub use handler::Jobs;
pub use server::{Server, run};

/// `service.name` of this process, and the name of its consumer group.
pub const SERVICE: &str = "jobs";
