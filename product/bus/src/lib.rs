//! Events between services over the Kafka protocol: an embedded broker, a transactional outbox with its relay,
//! and consumers whose inbox makes an effect happen once. Knows nothing of what the events mean.
//!
//! A broker may forget everything at any moment; the outbox does not. Whoever publishes and whoever consumes
//! compares the cluster id: another one is another log, published from the start of what the outbox retains and read
//! from its start, and the inbox ignores what it knows.

pub mod broker;
pub mod consumer;
pub mod database;
pub mod inbox;
pub mod outbox;
pub mod replay;
pub mod steps;

mod event;
mod kafka;
mod measure;
mod outage;
mod poison;
mod spans;

pub use event::{Event, INLINE};
pub use kafka::{KafkaArgs, Topic, create_topics};
pub use poison::poison;
