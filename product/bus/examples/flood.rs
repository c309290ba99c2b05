//! Shows that the embedded broker's memory stays flat: `cargo run -p product-bus --example flood -- 400000`.
//!
//! One process: broker, a producer of messages of about 700 bytes, a group that reads and commits. Prints what the
//! process holds every 50,000 messages.

use std::{fs, time::Instant};

use futures::future::try_join_all;
use product_bus::{
    KafkaArgs, Topic,
    broker::{self, Broker},
    create_topics,
};
use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
const TOLD_EVERY: usize = 50_000;
const IN_FLIGHT: usize = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let messages = std::env::args().nth(1).map_or(Ok(300_000), |count| count.parse())?;
    let stop = CancellationToken::new();
    let broker = Broker::bind(broker::Args { broker_listen: "127.0.0.1:0".parse()? }).await?;
    let kafka = KafkaArgs::at(broker.address().to_string());
    let serving = tokio::spawn(broker.run(stop.clone()));
    create_topics(&kafka, &[Topic { name: "flood".to_owned(), partitions: PARTITIONS }]).await?;

    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.bootstrap_servers);
    let producer: FutureProducer = client.clone().set("batch.num.messages", "1").create()?;
    let reader: StreamConsumer = client
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .set("auto.commit.interval.ms", "500")
        .set("heartbeat.interval.ms", "500")
        .set("session.timeout.ms", "6000")
        .set("queued.min.messages", "1000")
        .create()?;
    reader.subscribe(&["flood"])?;
    let reading = tokio::spawn(async move {
        for read in 1..=messages {
            reader.recv().await?;
            if read % TOLD_EVERY == 0 {
                println!("{read:>8} read, resident {} MB", resident_kb() / 1024);
            }
        }
        anyhow::Ok(())
    });

    let started = Instant::now();
    let payload = "x".repeat(600);
    for chunk in (0..messages).collect::<Vec<_>>().chunks(IN_FLIGHT) {
        let sends = chunk.iter().map(|number| {
            let key = number.to_string();
            let (producer, payload) = (&producer, &payload);
            async move {
                let record = FutureRecord::to("flood").key(&key).payload(payload);
                producer.send(record, rdkafka::util::Timeout::Never).await.map_err(|(error, _)| error)
            }
        });
        try_join_all(sends).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{messages} sent in {seconds:.1} s, {:.0} a second", messages as f64 / seconds);
    reading.await??;
    stop.cancel();
    serving.await?
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
