//! Where else telemetry goes. A sink reads the log behind the writer, signal by signal, and remembers how far it came: whatever
//! becomes of its far end, receiving goes on, and so do the other sinks.
//!
//! A range of the log is read (`store::Cursor`), rid of what was not sampled, made into parcels of bytes (`pack`), sent until the
//! far end has them (`delivery`, at the `pace` of a sink that may be down), and marked as taken. `account` counts and says what is
//! wrong. A `bucket` is different: it gets no rows of the log but the Parquet files behind it.

mod account;
mod args;
mod bucket;
mod clickhouse;
mod delivery;
mod kafka;
mod otlp;
mod pace;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use model::Signal;
use store::{Handover, Portion, Writer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use account::{Account, Progress};
pub use args::Args;
pub(crate) use kafka::{signal_of, topics as kafka_topics};
pub(crate) use pace::Pace;

use self::clickhouse::{ClickHouse, Part};
use crate::sampling::Sampler;
use bucket::{Bucket, Copying};
use delivery::Delivery;
use kafka::Kafka;
use otlp::Otlp;

/// Name of the copies among the sinks.
const BUCKET: &str = "s3";

/// A far end.
#[allow(clippy::large_enum_variant, reason = "there are a few, each behind an Arc")]
pub(crate) enum Sink {
    ClickHouse(ClickHouse),
    Otlp(Otlp),
    Kafka(Kafka),
}

/// Bytes that the far end takes whole or not at all. It stays as it is for as long as it is sent again.
#[derive(Debug)]
pub(crate) struct Parcel {
    to: Address,
    /// The same for the same rows, also after a restart.
    name: String,
    rows: u64,
    body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Signal(Signal),
    Table(Part),
}

/// The far end has the parcel, except for what it says it left out: that must not be sent again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    rows_refused: u64,
    /// In the words of the far end.
    warning: String,
}

/// The far end does not have it.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// Send it again, after this time at the earliest.
    Later { reason: String, after: Option<Duration> },
    /// It will not take this parcel, however often it is sent.
    Never { reason: String },
}

impl Failure {
    fn later(reason: impl ToString) -> Failure {
        Failure::Later { reason: reason.to_string(), after: None }
    }
}

impl Sink {
    fn name(&self) -> &'static str {
        match self {
            Sink::ClickHouse(_) => "clickhouse",
            Sink::Otlp(_) => "otlp",
            Sink::Kafka(_) => "kafka",
        }
    }

    fn portion(&self) -> Portion {
        match self {
            Sink::ClickHouse(sink) => sink.portion(),
            Sink::Otlp(sink) => sink.portion(),
            Sink::Kafka(sink) => sink.portion(),
        }
    }

    /// Work of milliseconds and more: not for an async thread.
    fn pack(&self, handover: &Handover) -> anyhow::Result<Vec<Parcel>> {
        match self {
            Sink::ClickHouse(sink) => sink.pack(handover),
            Sink::Otlp(sink) => sink.pack(handover),
            Sink::Kafka(sink) => Ok(sink.pack(handover)),
        }
    }

    async fn send(&self, parcel: &Parcel) -> Result<Sent, Failure> {
        match self {
            Sink::ClickHouse(sink) => sink.send(parcel).await,
            Sink::Otlp(sink) => sink.send(parcel).await,
            Sink::Kafka(sink) => sink.send(parcel).await,
        }
    }
}

/// Every sink that is set, each with its place in the log of each signal.
pub(crate) struct Sinks {
    deliveries: Vec<Delivery>,
    copyings: Vec<Copying>,
    accounts: Vec<Arc<Account>>,
}

impl Sinks {
    /// A setting that makes no sense is an error; a far end that is not there is not, nor is a place that cannot be read: that
    /// sink rests, and says so. Before compaction starts, so that no segment leaves that a sink still needs.
    pub(crate) async fn open(args: &Args, writer: &Writer, sampler: Option<&Sampler>) -> anyhow::Result<Sinks> {
        let (mut deliveries, mut accounts) = (Vec::new(), Vec::new());
        for sink in sinks(args)? {
            let sink = Arc::new(sink);
            for signal in Signal::ALL {
                let account = Arc::new(Account::new(sink.name(), signal));
                accounts.push(Arc::clone(&account));
                match writer.cursor(sink.name(), signal).await {
                    Ok(mut cursor) => {
                        let mut verdicts = None;
                        if signal == Signal::Traces
                            && let Some(sampler) = sampler
                        {
                            let Some(sampling) = &sampler.work else {
                                account.rests("tail sampling, which says what may be sent, rests");
                                continue;
                            };
                            cursor.follow(&sampling.cursor);
                            verdicts = Some(Arc::clone(&sampling.verdicts));
                        }
                        let (sink, pace) = (Arc::clone(&sink), args.pace());
                        deliveries.push(Delivery { sink, cursor, verdicts, account, pace });
                    }
                    Err(error) => account.rests(&error.to_string()),
                }
            }
        }
        let mut copyings = Vec::new();
        if let Some(url) = &args.bucket.s3_out_url {
            let bucket = Bucket::new(url, &args.bucket, args.timeout());
            let bucket = Arc::new(bucket.context("the settings of the S3 sink make no sense")?);
            for signal in Signal::ALL {
                let (bucket, shelf) = (Arc::clone(&bucket), writer.shelf(BUCKET, signal));
                let (terms, account) = (args.bucket.terms(), Arc::new(Account::new(BUCKET, signal)));
                accounts.push(Arc::clone(&account));
                copyings.push(Copying { bucket, shelf, terms, account, pace: args.pace() });
            }
        }
        Ok(Sinks { deliveries, copyings, accounts })
    }

    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.clone()
    }

    /// Until stopped. What is not delivered then waits in the log.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        for delivery in self.deliveries {
            let account = Arc::clone(&delivery.account);
            running.spawn(watched(account, delivery.run(stop.clone())));
        }
        for copying in self.copyings {
            let account = Arc::clone(&copying.account);
            running.spawn(watched(account, copying.run(stop.clone())));
        }
        while running.join_next().await.is_some() {}
    }
}

async fn watched(account: Arc<Account>, work: impl Future<Output = ()> + Send + 'static) {
    if let Err(panic) = tokio::spawn(work).await {
        account.rests(&format!("a defect of ours: {panic}"));
    }
}

fn sinks(args: &Args) -> anyhow::Result<Vec<Sink>> {
    let timeout = args.timeout();
    let mut sinks = Vec::new();
    if let Some(url) = &args.clickhouse.clickhouse_url {
        let sink = ClickHouse::new(url, &args.clickhouse, args.tls(), timeout);
        sinks.push(Sink::ClickHouse(sink.context("the settings of the ClickHouse sink make no sense")?));
    }
    if let Some(url) = &args.otlp.otlp_out_url {
        let sink = Otlp::new(url, &args.otlp, args.tls(), timeout);
        sinks.push(Sink::Otlp(sink.context("the settings of the OTLP sink make no sense")?));
    }
    if let Some(servers) = &args.kafka.kafka_out_servers {
        let sink = Kafka::new(servers, &args.kafka, timeout);
        sinks.push(Sink::Kafka(sink.context("the settings of the Kafka sink make no sense")?));
    }
    Ok(sinks)
}
