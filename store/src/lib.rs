//! Where telemetry rests: a hot log per signal, Parquet behind it, and one manifest that names both.
//!
//! [`Writer`] is the one process that appends, seals, compacts and deletes; [`Reader`] is any process that looks. They share
//! nothing but files: the manifest says what exists, and a segment grows until a frame does not check.
//!
//! What an `Ok` of [`Reservation::append`] means: the rows are on the disk and survive `kill -9` and power loss, and every
//! [`Reader::snapshot`] taken from then on has them exactly once, whatever compaction does meanwhile.

mod args;
mod error;
mod reader;
mod status;
mod writer;

pub use args::Args;
pub use error::{Full, FullReason, StoreError};
pub use reader::{ColdFile, Reader, Snapshot};
pub use status::{SignalStatus, Status};
pub use writer::{Reservation, Writer};
