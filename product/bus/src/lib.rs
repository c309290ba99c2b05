//! Events between services over the Kafka protocol: an embedded broker, a transactional outbox with its relay,
//! and consumers whose inbox makes an effect happen once. Knows nothing of what the events mean.
#![allow(clippy::todo)]

pub mod broker;
pub mod consumer;
mod event;
pub mod inbox;
mod kafka;
pub mod outbox;

pub use event::Event;
pub use kafka::{KafkaArgs, Topic, create_topics};
