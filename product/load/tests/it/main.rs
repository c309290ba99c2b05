//! The outside world over real sockets, against a small stand-in for core.

mod acquirer;
mod core;
mod customers;
mod http;
mod receiver;
