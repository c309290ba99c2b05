//! How we are watched: traces, logs and metrics of our own processes by OTLP, counted at the source,
//! and W3C context carried through HTTP and Kafka. What a process measures about its domain is its own affair.
//!
//! From the source outwards: `source` adapts the SDK to `queue`, which is bounded and paced by the clock;
//! `delivery` takes batches to the collector through `opentelemetry-otlp`, over a `channel` that may have TLS, and outlasts its
//! restarts; `counts` keeps the books around both. `durations` remembers traces for the points of histograms, which have no place of their own
//! for them.

pub mod channel;
pub mod context;
pub mod db;
pub mod http;
pub mod tls;

mod counts;
mod delivery;
mod durations;
mod parent;
mod queue;
mod runtime;
mod settings;
mod shutdown;
mod source;
mod target;
mod telemetry;

pub use counts::{Counts, SignalCounts};
pub use durations::{DATABASE_BOUNDARIES_S, Durations, REQUEST_BOUNDARIES_S};
pub use settings::Args;
pub use shutdown::shutdown_signal;
pub use telemetry::{Telemetry, init};
