//! Receives OTLP and keeps it: receive, append, answer.
//!
//! A request comes over a connection (`connections`, `port`, `silence`) from somebody who may send (`access`), is read within its
//! limits (`gate`, `incoming`), understood by its protocol (`grpc`, `http`), turned into Arrow, changed where somebody wants that
//! (`processors`) and appended to the store (`collector`), and answered once the rows survive a power loss. What waits in Kafka goes
//! the same way (`kafka_in`). What the process says about itself is in `watch`. Where rows rest is the store's affair; what the bytes
//! mean is the model's. Behind all that are the `readers` of the log: `sinks` send it on, `sampling` says which traces, `derive` makes
//! metrics of spans.

mod access;
mod answer;
mod args;
mod collector;
mod compression;
mod connections;
mod derive;
mod gate;
mod grpc;
mod http;
mod incoming;
mod kafka_client;
mod kafka_in;
mod media;
mod notice;
mod port;
mod processors;
mod readers;
mod refusal;
mod routes;
mod sampling;
mod server;
mod silence;
mod sinks;
mod spans;
mod together;
mod watch;

pub use args::{Access, Args, Limits, Secret};
pub use derive::{Args as DerivedArgs, Unit as SpanMetricsUnit};
pub use kafka_in::Args as KafkaInArgs;
pub use processors::config::EXAMPLE as PROCESSORS_EXAMPLE;
pub use sampling::{Args as SamplingArgs, config::EXAMPLE as TAIL_SAMPLING_EXAMPLE};
pub use server::{Server, run};
pub use sinks::Args as SinkArgs;
