//! Projections in a real database, read over real sockets.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod broker;
mod projections;
mod stack;
