//! OTLP to Arrow and back, against the reference implementation of the protocol's messages.

#![allow(clippy::unwrap_used)] // a test may fail where it stands

mod bad_input;
mod batches;
mod columns;
mod generate;
mod json_rules;
mod multiset;
mod round_trip;
