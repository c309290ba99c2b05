//! How we are watched: traces, logs and metrics of our own processes by OTLP, counted at the source,
//! and W3C context carried through HTTP and Kafka. What a process measures about its domain is its own affair.
#![allow(clippy::todo)]

pub mod context;
pub mod counts;
pub mod db;
pub mod http;
pub mod parent;
mod settings;
mod shutdown;
mod telemetry;

pub use counts::{Counts, SignalCounts};
pub use settings::Args;
pub use shutdown::shutdown_signal;
pub use telemetry::{Telemetry, init};
