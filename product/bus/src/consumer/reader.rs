//! Reads the topics of one tier and has several messages in hand.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use futures::{StreamExt as _, stream::FuturesUnordered};
use opentelemetry::KeyValue;
use rdkafka::{
    Offset,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Message, OwnedMessage},
};
use tokio::{sync::Notify, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::{
    Handler, HandlerError,
    at_work::AtWork,
    forward::{self, Forward},
    hand::Hand,
    seat::Seat,
    tier::{self, Tier},
};
use crate::{
    Event, KafkaArgs, Topic, create_topics,
    database::Database,
    inbox::{self, Place},
    kafka::{answers, cluster_id},
    measure::{Lag, METRICS, processing},
    outage::Outage,
    spans,
    steps::Step,
};

/// How often the broker is asked who it is, and positions are written: what a process that dies reads again, and the
/// inbox knows.
const CLOCK: Duration = Duration::from_secs(1);
/// For a broker to hear that we leave; without a word it notices when the session times out.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// Messages fetched ahead of the handler.
const AHEAD_MESSAGES_MIN: &str = "1000";
const AHEAD_KBYTES_MAX: &str = "8192";

pub(super) struct Reader<H> {
    pub(super) kafka: KafkaArgs,
    pub(super) topics: Vec<Topic>,
    pub(super) retries: usize,
    pub(super) in_hand_max: usize,
    /// Group of the consumer; that of the tier may be beside it.
    pub(super) group: String,
    pub(super) tier: Tier,
    pub(super) lag: Arc<Lag>,
    pub(super) database: Database,
    pub(super) handler: Arc<H>,
    pub(super) forward: Arc<Forward>,
    /// Of all readers of the consumer.
    pub(super) at_work: Arc<AtWork>,
}

/// A message that was worked on. An error means that nothing is decided and it has to be read again.
struct Done {
    outcome: anyhow::Result<Outcome>,
    place: Place,
    offset: i64,
    key: Vec<u8>,
}

/// What became of a message.
enum Outcome {
    Processed,
    Unwanted,
    Duplicate,
    Retried,
    DeadLettered,
}

impl<H: Handler> Reader<H> {
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut outage = Outage::new(format!("consumer {}", self.tier.group));
        while let Err(error) = self.session(&stop, &mut outage).await {
            outage.failed(&error, &stop).await;
            if stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// One membership in the group of one cluster. Any doubt about the cluster is an error, and a new session settles it.
    async fn session(&self, stop: &CancellationToken, outage: &mut Outage) -> anyhow::Result<()> {
        let session = Session::open(self).await?;
        outage.over();
        let outcome = session.read(stop, outage).await;
        let written = session.write_positions().await;
        session.close().await;
        outcome.and(written)
    }
}

struct Session<'a, H> {
    reader: &'a Reader<H>,
    consumer: Arc<StreamConsumer<Seat>>,
    cluster: String,
}

impl<'a, H: Handler> Session<'a, H> {
    async fn open(reader: &'a Reader<H>) -> anyhow::Result<Self> {
        let consumer: StreamConsumer<Seat> = reader
            .kafka
            .client()
            .set("group.id", &reader.tier.group)
            .set("auto.offset.reset", "earliest")
            // Committed for those who watch the group; where reading starts is the inbox's business.
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("enable.auto.offset.store", "false")
            // By its heartbeat a member hears that the group gathers again: half a second is what a rebalance waits for.
            .set("heartbeat.interval.ms", "500")
            .set("session.timeout.ms", "6000")
            // A member that comes or goes moves only the partitions that change hands.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("queued.min.messages", AHEAD_MESSAGES_MIN)
            .set("queued.max.messages.kbytes", AHEAD_KBYTES_MAX)
            .set("statistics.interval.ms", "1000")
            .create_with_context(Seat::new(&reader.tier.group, reader.lag.clone()))?;
        let consumer = Arc::new(consumer);
        let cluster = cluster_id(&consumer).await?;
        create_topics(&reader.kafka, &tier::all_topics(&reader.group, &reader.topics, reader.retries)).await?;
        let positions = inbox::positions(&reader.database, &reader.tier.group, &cluster).await?;
        if positions.is_empty() && reader.tier.attempt == 0 {
            info!("consumer {} reads cluster {cluster} from the beginning", reader.tier.group);
        }
        consumer.context().start(positions);
        let topics: Vec<_> = reader.tier.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Self { reader, consumer, cluster })
    }

    async fn read(&self, stop: &CancellationToken, outage: &mut Outage) -> anyhow::Result<()> {
        let mut hand = Hand::new(self.reader.in_hand_max);
        let mut work = FuturesUnordered::new();
        let mut early = None;
        let doubt = Notify::new();
        let mut watch = Box::pin(self.watch(stop, outage, &doubt));
        let outcome = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Err(error) = &mut watch => break Err(error),
                Some(done) = work.next() => {
                    let key = match self.pass(done) {
                        Ok(key) => key,
                        Err(error) => break Err(error),
                    };
                    work.extend(hand.finished(&key).map(|next| self.work(next)));
                }
                message = self.next(&mut early), if hand.has_room() => match message {
                    Ok(message) => work.extend(hand.take(message).map(|message| self.work(message))),
                    Err(error) if is_passing(&error) => doubt.notify_one(),
                    Err(error) => break Err(error),
                },
            }
        };
        drop(watch); // it may hold the connection that the work in hand needs
        // What has begun is finished: whoever reads on here would do it again.
        while let Some(done) = work.next().await {
            let _ = self.pass(done); // the first failure is the one to tell
        }
        self.consumer.context().drop_all();
        self.leave();
        outcome
    }

    /// The next message that is for us, when it is due. What is not handed out yet stays in `early` when this is cancelled.
    async fn next(&self, early: &mut Option<(OwnedMessage, tokio::time::Instant)>) -> anyhow::Result<OwnedMessage> {
        loop {
            if early.is_none() {
                let message = self.consumer.recv().await?.detach();
                // A clock that jumped must not hold the topic: nothing waits longer than its delay.
                let wait = forward::due(&message).duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
                let due = tokio::time::Instant::now() + wait.min(self.reader.tier.delay);
                *early = Some((message, due));
            }
            let Some((message, due)) = early.as_ref() else { continue };
            tokio::time::sleep_until(*due).await;
            // Here and not between two polls of the work in hand, which may hold the connections that the answer needs.
            let wanted = self.is_to_be_done(message).await?;
            if let Some((message, _)) = early.take().filter(|_| wanted) {
                return Ok(message);
            }
        }
    }

    /// Whether it is for us: not when its partition changes hands, before or after.
    async fn is_to_be_done(&self, message: &OwnedMessage) -> anyhow::Result<bool> {
        Ok(!self.was_read(message).await? && self.consumer.context().begin(&place(message), message.offset()))
    }

    /// Asks by a clock, and when there is `doubt`, who answers, and writes positions. Ends only with an error: what a log that
    /// may be another one gives is not trusted for longer.
    async fn watch(&self, stop: &CancellationToken, outage: &mut Outage, doubt: &Notify) -> anyhow::Result<()> {
        let mut clock = tokio::time::interval(CLOCK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = doubt.notified() => {}
            }
            if answers(&self.consumer, &self.cluster).await? {
                outage.over();
            } else {
                outage.failed(&anyhow::anyhow!("no broker answers"), stop).await;
            }
            self.write_positions().await?;
            inbox::prune(&self.reader.database).await?;
        }
    }

    /// Whether another member of the group got beyond the first message of a partition given to us, as the positions of
    /// this session's start cannot know. Then reading goes on behind it.
    async fn was_read(&self, message: &OwnedMessage) -> anyhow::Result<bool> {
        let place = place(message);
        if !self.consumer.context().is_new(&place) {
            return Ok(false);
        }
        let Reader { database, tier, .. } = self.reader;
        match inbox::position(database, &tier.group, &self.cluster, &place).await? {
            Some(next) if next > message.offset() => {
                // Without waiting: should it fail, what follows is read again and known to the inbox.
                let sought = self.consumer.seek(&place.0, place.1, Offset::Offset(next), Duration::ZERO).is_ok();
                if sought {
                    self.consumer.context().skip_to(&place, next);
                }
                Ok(sought)
            }
            _ => Ok(false),
        }
    }

    async fn work(&self, message: OwnedMessage) -> Done {
        let outcome = self.dispose(&message).await;
        Done {
            outcome,
            place: place(&message),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_owned(),
        }
    }

    /// Takes note of what was done; returns its key.
    fn pass(&self, done: Done) -> anyhow::Result<Vec<u8>> {
        let Done { outcome, place, offset, key } = done;
        let outcome = outcome?;
        let (topic, partition) = place.clone();
        let next = self.consumer.context().passed(place, offset);
        // Fails when the partition was just given to another: then it is for that one to commit.
        let _ = self.consumer.store_offset(&topic, partition, next - 1);
        self.leave();
        let name = match outcome {
            Outcome::Processed => "processed",
            Outcome::Unwanted => "unwanted",
            Outcome::Duplicate => "duplicate",
            Outcome::Retried => "retried",
            Outcome::DeadLettered => "dead_lettered",
        };
        let mut attributes = processing(&topic, &self.reader.tier.group);
        attributes.push(KeyValue::new("outcome", name));
        METRICS.consumed.add(1, &attributes);
        Ok(key)
    }

    /// Gives back what the group wants and nothing is in hand of.
    fn leave(&self) {
        if let Some(partitions) = self.consumer.context().take_leaving() {
            self.consumer.context().give_up(&*self.consumer, &partitions);
        }
    }

    /// An error means that nothing is decided and the message has to be read again.
    async fn dispose(&self, message: &OwnedMessage) -> anyhow::Result<Outcome> {
        let Reader { database, group, handler, forward, tier, .. } = self.reader;
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        let headers = forward::headers(message);
        let event = match Event::decode(&key, &headers, message.payload().unwrap_or_default()) {
            Ok(event) => event,
            Err(malformed) => {
                let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
                error!("message {topic}/{partition}/{offset} is no event: {malformed}");
                forward.give_up(message, None, 1, &malformed.to_string()).await?;
                return Ok(Outcome::DeadLettered);
            }
        };
        if !handler.wants(&event) {
            return Ok(Outcome::Unwanted);
        }
        Step::Received.reached();
        let _claim = self.reader.at_work.claim(event.id).await;
        if inbox::knows(database, group, event.id).await? {
            return Ok(Outcome::Duplicate);
        }
        let span = spans::process(message.topic(), message.partition(), message.offset(), &tier.group, &event);
        let attempt = async {
            let started = Instant::now();
            let done = self.act(&event).await?;
            let mut attributes = processing(message.topic(), &tier.group);
            attributes.extend(done.as_ref().err().map(|error| KeyValue::new("error.type", kind(error))));
            METRICS.process_duration.record(started.elapsed(), &attributes, &span);
            match done {
                Ok(true) => Ok(Outcome::Processed),
                Ok(false) => Ok(Outcome::Duplicate),
                Err(failure) => {
                    spans::failed(&span, kind(&failure));
                    self.put_aside(message, &event, &failure).await
                }
            }
        };
        attempt.instrument(span.clone()).await
    }

    /// Inbox row and effect in one transaction. Outer error: the database; inner: the handler. False: known.
    async fn act(&self, event: &Event) -> anyhow::Result<Result<bool, HandlerError>> {
        let Reader { database, group, handler, .. } = self.reader;
        if let Err(error) = handler.before(event).await {
            return Ok(Err(error));
        }
        Step::Prepared.reached();
        let mut transaction = database.begin().await.context("could not begin")?;
        if !inbox::add(&mut transaction, group, event.id).await? {
            return Ok(Ok(false));
        }
        Step::Remembered.reached();
        if let Err(error) = handler.apply(&mut transaction, event).await {
            return Ok(Err(error)); // the transaction is rolled back
        }
        Step::Applied.reached();
        database.commit(transaction).await.context("could not commit")?;
        Step::Done.reached();
        Ok(Ok(true))
    }

    async fn put_aside(
        &self,
        message: &OwnedMessage,
        event: &Event,
        failure: &HandlerError,
    ) -> anyhow::Result<Outcome> {
        let Reader { forward, tier, .. } = self.reader;
        let attempts = tier.attempt + 1;
        let reason = failure.to_string();
        Step::PuttingAside.reached();
        let retried = match failure {
            HandlerError::Retry(_) => forward.later(message, event, attempts, &reason).await?,
            HandlerError::Poison(_) => {
                forward.give_up(message, Some(event), attempts, &reason).await?;
                false
            }
        };
        Step::PutAside.reached();
        if retried {
            warn!(messaging.message.id = %event.id, "attempt {attempts} at {} {} failed: {reason}", event.kind, event.id);
            Ok(Outcome::Retried)
        } else {
            error!(messaging.message.id = %event.id, "gave up {} {}: {reason}", event.kind, event.id);
            Ok(Outcome::DeadLettered)
        }
    }

    async fn write_positions(&self) -> anyhow::Result<()> {
        let moved = self.consumer.context().take_moved();
        if moved.is_empty() {
            return Ok(());
        }
        let database = &self.reader.database;
        let mut transaction = database.begin().await?;
        for (place, offset) in &moved {
            inbox::set_position(&mut transaction, &self.reader.tier.group, &self.cluster, place, *offset).await?;
        }
        database.commit(transaction).await?;
        Ok(())
    }

    /// Leaving the group talks to the broker: not on the runtime's threads.
    async fn close(self) {
        let consumer = self.consumer;
        let (done, closed) = tokio::sync::oneshot::channel();
        // A thread of its own: librdkafka can wait without end for a broker that is gone, and a runtime that ends waits for
        // its blocking threads.
        let closing = move || {
            drop(consumer);
            let _ = done.send(());
        };
        if std::thread::Builder::new().name("consumer-close".to_owned()).spawn(closing).is_ok() {
            let _ = tokio::time::timeout(CLOSE_MAX, closed).await;
        }
    }
}

fn place(message: &OwnedMessage) -> Place {
    (message.topic().to_owned(), message.partition())
}

fn is_passing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(KafkaError::MessageConsumption(code)) if is_of_connection(*code))
}

/// The client mends these by itself; what is to be found out is who answers afterwards.
fn is_of_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut)
}

fn kind(error: &HandlerError) -> &'static str {
    match error {
        HandlerError::Retry(_) => "retry",
        HandlerError::Poison(_) => "poison",
    }
}
