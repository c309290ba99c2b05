//! What the bus counts. Names follow the messaging semantic conventions where these have one; the lag's is the one that
//! the OpenTelemetry collector's `kafkametrics` receiver uses.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use observe::{Durations, REQUEST_BOUNDARIES_S};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Meter},
};

static METER: LazyLock<Meter> = LazyLock::new(|| global::meter("bus"));

/// Instruments of the process. Made at first use: telemetry has to be started before.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

pub(crate) struct Metrics {
    /// Messages given to a broker; `error.type` when it did not take them.
    pub(crate) sent: Counter<u64>,
    /// From giving a message to a broker to its answer.
    pub(crate) send_duration: Durations,
    /// Messages received; `outcome` is processed, unwanted, duplicate, retried or dead_lettered.
    pub(crate) consumed: Counter<u64>,
    /// Time a handler took, its transaction included.
    pub(crate) process_duration: Durations,
    /// Events put off to a retry topic.
    pub(crate) retries: Counter<u64>,
    /// Events given up.
    pub(crate) dead_letters: Counter<u64>,
    /// Events published again because a broker had forgotten them.
    pub(crate) republished: Counter<u64>,
}

impl Metrics {
    fn new() -> Self {
        let counter =
            |name, description| METER.u64_counter(name).with_unit("{message}").with_description(description).build();
        let duration = |name, description| Durations::new("bus", name, description, &REQUEST_BOUNDARIES_S);
        Self {
            sent: counter("messaging.client.sent.messages", "Messages given to a broker"),
            consumed: counter("messaging.client.consumed.messages", "Messages received, by outcome"),
            send_duration: duration("messaging.client.operation.duration", "Time from giving a message to its answer"),
            process_duration: duration("messaging.process.duration", "Time a handler took, its transaction included"),
            retries: counter("faultline.consumer.retries", "Events put off to a retry topic"),
            dead_letters: counter("faultline.consumer.dead_letters", "Events given up"),
            republished: counter("faultline.outbox.republished", "Events published again to a log that had lost them"),
        }
    }
}

/// Of a message that is sent.
pub(crate) fn sending(topic: &str) -> Vec<KeyValue> {
    operation(destination(topic), "send")
}

/// Of a message that is processed.
pub(crate) fn processing(topic: &str, group: &str) -> Vec<KeyValue> {
    operation(consumption(topic, group), "process")
}

fn operation(mut attributes: Vec<KeyValue>, name: &'static str) -> Vec<KeyValue> {
    // The operations of Kafka's clients are named like their types.
    attributes.extend(["messaging.operation.name", "messaging.operation.type"].map(|key| KeyValue::new(key, name)));
    attributes
}

fn destination(topic: &str) -> Vec<KeyValue> {
    vec![KeyValue::new("messaging.system", "kafka"), KeyValue::new("messaging.destination.name", topic.to_owned())]
}

fn consumption(topic: &str, group: &str) -> Vec<KeyValue> {
    let mut attributes = destination(topic);
    attributes.push(KeyValue::new("messaging.consumer.group.name", group.to_owned()));
    attributes
}

/// What waits in the outbox.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) pending: AtomicI64,
    pub(crate) oldest_age_ms: AtomicI64,
}

impl Backlog {
    pub(crate) fn registered() -> Arc<Self> {
        let backlog = Arc::new(Self::default());
        let read = backlog.clone();
        METER
            .i64_observable_gauge("faultline.outbox.pending")
            .with_unit("{message}")
            .with_description("Events committed and not yet published")
            .with_callback(move |observer| observer.observe(read.pending.load(Relaxed), &[]))
            .build();
        let read = backlog.clone();
        METER
            .f64_observable_gauge("faultline.outbox.age")
            .with_unit("s")
            .with_description("Age of the oldest event not yet published")
            .with_callback(move |observer| observer.observe(read.oldest_age_ms.load(Relaxed) as f64 / 1e3, &[]))
            .build();
        backlog
    }

    pub(crate) fn exists(&self) -> bool {
        self.pending.load(Relaxed) > 0
    }

    pub(crate) fn set(&self, pending: i64, oldest_age_ms: i64) {
        self.pending.store(pending, Relaxed);
        self.oldest_age_ms.store(oldest_age_ms, Relaxed);
    }
}

/// How far a group is behind, per topic and partition it reads.
#[derive(Debug, Default)]
pub(crate) struct Lag(Mutex<HashMap<(String, i32), i64>>);

impl Lag {
    pub(crate) fn registered(group: &str) -> Arc<Self> {
        let lag = Arc::new(Self::default());
        let read = lag.clone();
        let group = group.to_owned();
        METER
            .i64_observable_gauge("kafka.consumer_group.lag")
            .with_unit("{message}")
            .with_description("Messages a group has not consumed yet")
            .with_callback(move |observer| {
                for ((topic, partition), messages) in read.lock().iter() {
                    let mut attributes = consumption(topic, &group);
                    attributes.push(KeyValue::new("messaging.destination.partition.id", partition.to_string()));
                    observer.observe(*messages, &attributes);
                }
            })
            .build();
        lag
    }

    /// Of the partitions read now; those of others are for them to tell.
    pub(crate) fn set(&self, behind: HashMap<(String, i32), i64>) {
        *self.lock() = behind;
    }

    #[cfg(test)]
    pub(crate) fn of(&self, place: &(String, i32)) -> Option<i64> {
        self.lock().get(place).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, i32), i64>> {
        self.0.lock().expect("no code panics while it holds the lags")
    }
}
