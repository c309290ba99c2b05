//! A message that is no event, as a producer with a bug would send it. Consumers must live with it; faults send it.

use std::time::Duration;

use anyhow::Context as _;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use uuid::Uuid;

use crate::{KafkaArgs, kafka::Quiet};

/// A broker that is there takes a message in milliseconds.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Puts one on `topic`: it claims to be an event, and its body breaks off.
pub async fn poison(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<()> {
    let producer: FutureProducer<Quiet> = kafka.client().create_with_context(Quiet)?;
    let id = Uuid::now_v7().to_string();
    let header = |headers: OwnedHeaders, key, value: &str| headers.insert(Header { key, value: Some(value) });
    let headers = header(header(OwnedHeaders::new(), "ce_id", &id), "ce_type", "payment.captured");
    let topic = kafka.name(topic);
    let record = FutureRecord::to(&topic).key(&id).payload("{\"payment_id\": \"0192").headers(headers);
    let sent = producer.send(record, SEND_MAX).await;
    sent.map(drop).map_err(|(error, _)| error).with_context(|| format!("could not send to {topic}"))
}
