//! A whole collector on sockets of its own: what exporters send, and what the network and the hostile send.

mod access;
mod bad_records;
mod bucket;
mod connections;
mod cors;
mod derived;
mod exporters;
mod far_end;
mod harness;
mod itself;
mod kafka;
mod kafka_in;
mod limits;
mod otlp_grpc;
mod otlp_http;
mod otlp_json;
mod probes;
mod process;
mod processors;
mod real;
mod round_trip;
mod sampling;
mod sinks;
mod tls;
mod together;
