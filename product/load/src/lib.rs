//! The world outside the product: who uses it, who moves its money, who listens to it.
//!
//! `customers` sends requests, `acquirer` answers charges, `receiver` collects webhooks. None of
//! them knows the product's code; they speak HTTP and keep their own evidence of what happened.

pub mod acquirer;
mod answers;
pub mod customers;
mod database;
pub mod receiver;
