//! Everything at once, through the doors that users have: the binary, OTLP sockets, SQL.

mod conventions;
mod crash;
mod faults;
mod operations;
mod recording;
mod secrets;
mod soak;
mod up;
