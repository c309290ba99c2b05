//! The world outside the product: who uses it, who moves its money, who listens to it, and the wire in between.
//!
//! `customers` sends requests, `acquirer` answers charges, `receiver` collects webhooks and mail, `proxy` makes a
//! connection as bad as it is told to. None of them knows the product's code; they speak HTTP, SMTP and TCP and keep
//! their own evidence of what happened.

pub mod acquirer;
mod answers;
pub mod customers;
mod database;
mod faults;
mod latency;
pub mod proxy;
pub mod receiver;
mod secret;

pub use secret::Secret;
