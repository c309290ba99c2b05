//! The work that an event sets off: a receipt, a letter and a signed webhook for a payment, a letter to verify an
//! address, the export of an account, and the settlement of a day. Each done once.
//!
//! [`Jobs`] does the work, for whoever calls it: core within a request, as the monolith did, or the service of this crate
//! for what it consumes. What is a payment and when it changes is decided by core; this crate only reacts.

pub mod effects;
pub mod shadow;

mod args;
mod event;
mod files;
mod handler;
mod http;
mod mail;
mod metrics;
mod receipt;
mod server;
mod settlement;
mod webhook;
mod work;

pub use args::{Args, Receivers};
pub use handler::{Jobs, JobsSettings, migrations};
pub use server::{Server, run};
pub use settlement::Settlement;

/// `service.name` of this process, and the name of its consumer group.
pub const SERVICE: &str = "jobs";
