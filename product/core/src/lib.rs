//! The core of the product: accounts, profiles and payments over HTTP, with one database.
//!
//! Every write commits its business row and its outbox row in one transaction; a relay inside this process
//! publishes the outbox to Kafka. What follows from an event (receipts, webhooks, projections) is the business
//! of `jobs` and `analytics`.
//!
//! From the outside in: `http` reads requests, `flows` decides and owns transactions, `domain` is the business
//! over a connection.

mod acquirer;
mod args;
mod database;
mod domain;
mod flows;
mod http;
mod metrics;
mod passwords;
mod server;

pub use args::Args;
pub use server::{Server, run};
