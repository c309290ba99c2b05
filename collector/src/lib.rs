//! Receives OTLP and keeps it: receive, append, answer.
//!
//! A request comes over a connection (`connections`, `port`, `silence`) from somebody who may send (`access`), is read within its
//! limits (`gate`, `incoming`), understood by its protocol (`grpc`, `http`), turned into Arrow, changed where somebody wants that
//! (`processors`) and appended to the store (`collector`), and answered once the rows survive a power loss. What the process says about itself is in `watch`. Where rows
//! rest is the store's affair; what the bytes mean is the model's. Behind all that, `sinks` read the log and send it on.

mod access;
mod answer;
mod args;
mod collector;
mod compression;
mod connections;
mod gate;
mod grpc;
mod http;
mod incoming;
mod media;
mod notice;
mod port;
mod processors;
mod refusal;
mod routes;
mod server;
mod silence;
mod sinks;
mod watch;

pub use args::{Access, Args, Limits, Secret};
pub use processors::config::EXAMPLE as PROCESSORS_EXAMPLE;
pub use server::{Server, run};
pub use sinks::Args as SinkArgs;
