//! The core of the product: accounts, profiles and payments over HTTP, with one database.
//!
//! Every write commits its business row and its outbox row in one transaction; a relay inside this process
//! publishes the outbox to Kafka. Who does what follows from an event (receipts, mails, webhooks) and who answers
//! reports is decided in `modes`: core itself as the monolith it was, the services, or both side by side.
//!
//! From the outside in: `http` reads requests, `flows` decides and owns transactions, `domain` is the business
//! over a connection.

mod acquirer;
mod analytics;
mod args;
mod database;
mod domain;
mod flows;
mod http;
mod images;
mod limits;
mod metrics;
mod modes;
mod passwords;
mod rates;
mod server;
mod turn;
mod workers;

pub use args::Args;
pub use limits::LimitArgs;
pub use modes::Mode;
pub use server::{Server, run};
