//! Stories of customers, told to a real core on a real port.
#![allow(clippy::unwrap_used)]

mod accounts;
mod acquirer;
mod app;
mod avatars;
mod description;
mod edges;
mod exports;
mod ledger;
mod modes;
mod outbox;
mod payments;
mod secrets;
mod sessions;
mod versions;
