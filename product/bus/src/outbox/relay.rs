//! Empties the outbox into Kafka: in order, woken by commits and by a clock, and again from the start when the log it
//! filled is gone. Behind a closed gate it talks to no broker until a row is wanted.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::join_all;
use opentelemetry::KeyValue;
use rdkafka::{
    client::Client,
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer, future_producer::FutureProducerContext},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info};

use super::rows::{self, Row, Sent};
use crate::{
    Event, KafkaArgs, Topic, create_topics,
    database::Database,
    kafka::{Connected, Quiet, answers, cluster_id, end_offset},
    measure::{Backlog, METRICS, sending},
    outage::Outage,
    spans,
    steps::Step,
};

/// Rows published and marked together.
const BATCH_ROWS_MAX: i64 = 500;
/// A broker that does not take a batch in this time is given up, with the connection to it.
const BATCH_TIME_MAX: Duration = Duration::from_secs(10);
/// How often rows are looked for without being told, and the broker is asked who it is.
const CLOCK: Duration = Duration::from_secs(1);
/// After the stop signal: time to publish what is committed. What remains waits in the table.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Published rows stay this long, for a broker that forgets.
const RETAINED_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
const PRUNED_ROWS_MAX: i64 = 1_000;

/// Tells the relay that a transaction with outbox rows was committed.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn committed(&self) {
        Step::Committed.reached();
        self.0.notify_one();
    }
}

pub struct Relay {
    database: Database,
    kafka: KafkaArgs,
    source: String,
    topics: Vec<Topic>,
    retained: Duration,
    commits: Arc<Notify>,
    gate: Option<watch::Receiver<bool>>,
    backlog: Arc<Backlog>,
}

impl Relay {
    /// `source` is the CloudEvents source ("core"); `topics` are created when missing.
    pub fn new(database: Database, kafka: KafkaArgs, source: &str, topics: Vec<Topic>) -> Self {
        let topics = kafka.topics(topics);
        Self {
            database,
            kafka,
            source: source.to_owned(),
            topics,
            retained: RETAINED_DEFAULT,
            commits: Arc::default(),
            gate: None,
            backlog: Backlog::registered(),
        }
    }

    /// How long published rows stay; 7 days unless told otherwise. Shorter than the inbox remembers.
    pub fn retained(self, retained: Duration) -> Self {
        Self { retained, ..self }
    }

    /// While `gate` says false nobody listens: rows wait, no broker is talked to, and what outlives its time is pruned
    /// unpublished. A row that is wanted all the same goes, with what stands before it. True publishes the backlog.
    pub fn gate(self, gate: watch::Receiver<bool>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    pub fn waker(&self) -> Waker {
        Waker(self.commits.clone())
    }

    /// Publishes until `stop`, then for a moment what is already committed; a broker that is away is waited for.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        rows::migrate(&self.database).await.context("could not create the outbox")?;
        let mut outage = Outage::new("relay".to_owned());
        while self.until_needed(&stop).await {
            let outcome = tokio::select! {
                outcome = self.session(&stop, &mut outage) => outcome,
                never = self.measure_by_clock() => match never {},
            };
            if let Err(error) = outcome {
                if stop.is_cancelled() {
                    break;
                }
                outage.failed(&error, &stop).await;
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| *gate.borrow())
    }

    /// Waits behind the closed gate for it to open or for a row that is wanted. False: stopped.
    async fn until_needed(&self, stop: &CancellationToken) -> bool {
        while !stop.is_cancelled() {
            // A database that does not answer is for the session to tell.
            if self.is_open() || self.keep_house().await.is_err() || self.backlog.exists() {
                return true;
            }
            self.pause(false, stop).await;
        }
        false
    }

    /// Until a commit, the gate is no more as it was, the clock or the end.
    async fn pause(&self, open: bool, stop: &CancellationToken) {
        let gate_moves = async {
            let moved = match self.gate.clone() {
                Some(mut gate) => gate.wait_for(|now| *now != open).await.is_ok(),
                None => false,
            };
            if !moved {
                std::future::pending::<()>().await; // nobody holds the gate
            }
        };
        tokio::select! {
            () = self.commits.notified() => {}
            () = tokio::time::sleep(CLOCK) => {}
            () = gate_moves => {}
            () = stop.cancelled() => {}
        }
    }

    /// One producer, one cluster. Any doubt about either is an error, and a new session settles it.
    async fn session(&self, stop: &CancellationToken, outage: &mut Outage) -> anyhow::Result<()> {
        let session = Session::open(self).await?;
        session.begin().await?;
        outage.over();
        let mut checked = Instant::now();
        let mut drain_until = None;
        loop {
            if checked.elapsed() >= CLOCK {
                self.prune().await?;
                if session.is_answered().await? {
                    outage.over();
                } else {
                    outage.failed(&anyhow::anyhow!("no broker answers"), stop).await;
                }
                checked = Instant::now();
            }
            if stop.is_cancelled() && *drain_until.get_or_insert_with(|| Instant::now() + DRAIN_MAX) < Instant::now() {
                return Ok(());
            }
            let open = self.is_open();
            let rows = rows::next(&self.database, open, BATCH_ROWS_MAX).await?;
            if !rows.is_empty() {
                Step::Read.reached();
                session.publish(rows).await?;
            } else if stop.is_cancelled() || !open {
                return Ok(());
            } else {
                self.pause(open, stop).await;
            }
        }
    }

    async fn measure(&self) -> sqlx::Result<()> {
        let (pending, age_ms) = rows::backlog(&self.database, self.is_open()).await?;
        self.backlog.set(pending, age_ms);
        Ok(())
    }

    /// Beside a session, which may wait long for a broker that is away: the gauge has to tell of it meanwhile.
    async fn measure_by_clock(&self) -> Infallible {
        loop {
            // A database that is busy is no reason to end.
            let _ = self.measure().await;
            tokio::time::sleep(CLOCK).await;
        }
    }

    async fn keep_house(&self) -> sqlx::Result<()> {
        self.measure().await?;
        self.prune().await
    }

    async fn prune(&self) -> sqlx::Result<()> {
        let age_ns = i64::try_from(self.retained.as_nanos()).unwrap_or(i64::MAX);
        let pruned = rows::prune(&self.database, self.is_open(), age_ns, PRUNED_ROWS_MAX).await?;
        if pruned > 0 {
            debug!("pruned {pruned} events");
        }
        Ok(())
    }
}

struct Session<'a> {
    relay: &'a Relay,
    producer: Arc<FutureProducer<Quiet>>,
    cluster: String,
    /// Per partition, below which offset nothing of ours can arrive any more.
    ends: Mutex<HashMap<(String, i32), i64>>,
}

impl Connected for FutureProducer<Quiet> {
    type Context = FutureProducerContext<Quiet>;

    fn connection(&self) -> &Client<Self::Context> {
        self.client()
    }
}

impl<'a> Session<'a> {
    async fn open(relay: &'a Relay) -> anyhow::Result<Self> {
        let producer: FutureProducer<Quiet> = relay
            .kafka
            .client()
            .set("acks", "all")
            // Order within a partition, over retries of the client as well.
            .set("enable.idempotence", "true")
            // A message never expires while a later one of its key goes out: the session ends instead.
            .set("message.timeout.ms", "0")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .create_with_context(Quiet)?;
        let producer = Arc::new(producer);
        let cluster = cluster_id(&producer).await?;
        create_topics(&relay.kafka, &relay.topics).await?;
        Ok(Self { relay, producer, cluster, ends: Mutex::default() })
    }

    async fn begin(&self) -> anyhow::Result<()> {
        rows::begin(&self.relay.database, &self.cluster).await?;
        for (topic, partition, expected) in rows::ends(&self.relay.database).await? {
            let end = end_offset(&self.producer, &topic, partition).await?;
            if end < expected {
                info!("{topic}/{partition} ends at {end}, not at {expected}: publishing everything retained again");
                rows::restart(&self.relay.database, &self.cluster).await?;
                return Ok(());
            }
            self.ends().insert((topic, partition), end);
        }
        info!("relay publishes to cluster {}", self.cluster);
        Ok(())
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<(String, i32), i64>> {
        self.ends.lock().expect("no code panics while it holds the ends")
    }

    async fn is_answered(&self) -> anyhow::Result<bool> {
        answers(&self.producer, &self.cluster).await
    }

    /// Over when the broker that messages are on their way to is another one now, or takes too long. A client that waits
    /// for the confirmation of a broker that died waits in vain, also when another is there in its place.
    async fn doubt(&self) -> anyhow::Error {
        let given_up = Instant::now() + BATCH_TIME_MAX;
        while Instant::now() < given_up {
            tokio::time::sleep(CLOCK).await;
            if let Err(doubt) = self.is_answered().await {
                return doubt;
            }
        }
        anyhow::anyhow!("the broker does not take messages")
    }

    /// Publishes rows in order and marks them.
    async fn publish(&self, rows: Vec<Row>) -> anyhow::Result<()> {
        let mut on_the_way = Vec::with_capacity(rows.len());
        for row in rows {
            on_the_way.push(self.send(row)?);
        }
        Step::Handed.reached();
        let outcomes = tokio::select! {
            outcomes = join_all(on_the_way.into_iter().map(OnTheWay::arrive)) => outcomes,
            doubt = self.doubt() => return Err(doubt),
        };
        // Only what arrived before the first failure counts: the rest is published again, in order.
        let mut sent = Vec::with_capacity(outcomes.len());
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok(arrived) => sent.push(arrived),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        Step::Acknowledged.reached();
        self.expect_growth(&sent).await?;
        rows::mark(&self.relay.database, &self.cluster, &sent).await?;
        Step::Marked.reached();
        failure.map_or(Ok(()), Err)
    }

    fn send(&self, row: Row) -> anyhow::Result<OnTheWay> {
        let (id, topic, again) = (row.id, self.relay.kafka.name(&row.topic), row.was_published());
        let (mut event, body) = row.into_event().with_context(|| format!("outbox row {id} is damaged"))?;
        let span = if again {
            METRICS.republished.add(1, &sending(&topic));
            Span::none() // its sending was told the first time
        } else {
            let span = spans::send(&topic, &event);
            adopt(&mut event, &span);
            span
        };
        let headers = message_headers(&event, &self.relay.source);
        let record = FutureRecord::to(&topic).key(&event.key).payload(&body).headers(headers);
        let given = Instant::now();
        let delivery = self.producer.send_result(record).map_err(|(error, _)| error)?;
        Ok(OnTheWay { id, topic, event, span, given, delivery })
    }

    /// An offset below one we already got means that the log began anew. Only our own messages are compared: another
    /// relay may publish for a moment, while one process takes over from another.
    async fn expect_growth(&self, sent: &[Sent]) -> anyhow::Result<()> {
        let shrunk = {
            let mut ends = self.ends();
            sent.iter().find(|sent| {
                let end = ends.entry((sent.topic.clone(), sent.partition)).or_default();
                let shrunk = sent.offset < *end;
                *end = sent.offset + 1;
                shrunk
            })
        };
        if let Some(Sent { topic, partition, .. }) = shrunk {
            rows::restart(&self.relay.database, &self.cluster).await?;
            anyhow::bail!("{topic}/{partition} began anew");
        }
        Ok(())
    }
}

/// Everything of an event but its key and its body.
pub(crate) fn message_headers(event: &Event, source: &str) -> OwnedHeaders {
    let attributes = event.headers(source);
    let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    attributes
        .chain(event.trace_headers())
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// The span that sends becomes the context that travels.
fn adopt(event: &mut Event, span: &Span) {
    for (name, value) in observe::context::headers_of(span) {
        match name.as_str() {
            "traceparent" => event.traceparent = Some(value),
            "tracestate" => event.tracestate = Some(value),
            _ => {}
        }
    }
}

struct OnTheWay {
    id: i64,
    topic: String,
    event: Event,
    span: Span,
    given: Instant,
    delivery: DeliveryFuture,
}

impl OnTheWay {
    async fn arrive(self) -> anyhow::Result<Sent> {
        let mut attributes = sending(&self.topic);
        let outcome = match self.delivery.await {
            // A broker that calls a message a repetition does not say where the first one is: no place, no proof.
            Ok(Ok(delivery)) if delivery.offset < 0 => Err(anyhow::anyhow!("the broker does not say at which offset")),
            Ok(Ok(delivery)) => Ok(delivery),
            Ok(Err((error, _))) => Err(anyhow::Error::from(error)),
            Err(_) => Err(anyhow::anyhow!("the producer was closed")),
        };
        let took = self.given.elapsed();
        let told = |attributes: &[KeyValue]| {
            METRICS.sent.add(1, attributes);
            METRICS.send_duration.record(took, attributes, &self.span);
        };
        match outcome {
            Ok(delivery) => {
                spans::sent(&self.span, delivery.partition, delivery.offset);
                told(&attributes);
                Ok(Sent {
                    id: self.id,
                    topic: self.topic,
                    partition: delivery.partition,
                    offset: delivery.offset,
                    traceparent: self.event.traceparent,
                    tracestate: self.event.tracestate,
                })
            }
            Err(error) => {
                spans::failed(&self.span, "send");
                attributes.push(KeyValue::new("error.type", "send"));
                told(&attributes);
                Err(error.context(format!("could not publish event {}", self.event.id)))
            }
        }
    }
}
