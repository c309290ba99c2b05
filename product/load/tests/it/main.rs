//! The outside world over real sockets, against a small stand-in for core.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod acquirer;
mod core;
mod customers;
mod http;
mod mail;
mod proxy;
mod receiver;
