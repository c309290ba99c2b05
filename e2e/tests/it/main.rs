//! Everything at once, through the doors that users have: the binary, OTLP sockets, SQL.

mod crash;
mod operations;
mod recording;
mod up;
