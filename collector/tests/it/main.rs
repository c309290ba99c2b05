//! A whole collector on sockets of its own: what exporters send, and what the network and the hostile send.

mod access;
mod bad_records;
mod bucket;
mod connections;
mod cors;
mod exporters;
mod far_end;
mod harness;
mod limits;
mod otlp_grpc;
mod otlp_http;
mod otlp_json;
mod probes;
mod real;
mod round_trip;
mod sinks;
mod tls;
