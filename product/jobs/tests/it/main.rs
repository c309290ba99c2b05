//! Everything that events set off, with real files, a real database and real sockets.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod broker;
mod effects;
mod http;
mod kills;
mod migrations;
mod receivers;
mod settlement;
mod shadow;
mod signature;
mod stack;
mod versions;
