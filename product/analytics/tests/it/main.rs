//! Facts in a real database, and the answers from them.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod broker;
mod faults;
mod http;
mod migrations;
mod reports;
mod stack;
mod versions;
