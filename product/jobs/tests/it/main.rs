//! Receipts and webhooks with real files, a real database and real sockets.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod broker;
mod effects;
mod stack;
