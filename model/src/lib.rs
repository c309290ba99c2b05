//! What telemetry is: Arrow schemas, ids, and OTLP to Arrow and back. Pure: no I/O, no tokio, no clock.

pub mod schema;

pub use schema::{Column, Signal, Table};
