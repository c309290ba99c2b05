//! Sends requests over all connections, as fast as they are answered or on a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::BytesMut;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::histogram::Histogram;
use super::sender::{Answer, Sender};
use super::template::Template;
use super::{Args, Rate};

/// Different sentences kept; an endpoint in trouble says the same few over and over.
const SENTENCES_MAX: usize = 8;

/// What all workers saw together.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Records.
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// Records of requests without an answer: kept or not, nobody knows.
    pub(crate) unknown: u64,
    /// Requests.
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    /// What was said with refusals and errors, and how often.
    pub(crate) sentences: BTreeMap<String, u64>,
    /// From the moment a request was due to its answer, accepted ones only.
    pub(crate) latency: Histogram,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

/// The next request's number and when it is due; shared by all workers.
struct Schedule {
    next: AtomicU64,
    start: Instant,
    end: Instant,
    /// None: a request is due when a worker is free.
    interval: Option<Duration>,
}

pub(crate) async fn send(args: &Args, template: &Template) -> anyhow::Result<Outcome> {
    let mut senders = Vec::new();
    for _ in 0..args.connections {
        let sender = Sender::connect(args).await?;
        senders.extend(std::iter::repeat_n(sender, args.in_flight as usize));
    }
    let start = Instant::now();
    let schedule = Arc::new(Schedule {
        next: AtomicU64::new(0),
        start,
        end: start + Duration::from_secs(args.seconds),
        interval: match args.rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(Duration::from_secs_f64(template.batch as f64 / rate)),
        },
    });
    let template = Arc::new(template.clone());
    let mut workers = JoinSet::new();
    for sender in senders {
        workers.spawn(work(sender, Arc::clone(&template), Arc::clone(&schedule)));
    }
    let mut outcome = Outcome::default();
    while let Some(worker) = workers.join_next().await {
        outcome.add(worker.context("a worker panicked")?);
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

async fn work(mut sender: Sender, template: Arc<Template>, schedule: Arc<Schedule>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut bytes = BytesMut::from(&template.bytes[..]);
    while let Some((request, due)) = schedule.take().await {
        template.stamp(&mut bytes, request, now_ns());
        let message = bytes.freeze();
        let answer = sender.send(message.clone()).await;
        outcome.note(answer, template.batch, due.elapsed());
        // The buffer comes back once the client has let go of it; one that still holds it costs a copy.
        bytes = message.try_into_mut().unwrap_or_else(|held| BytesMut::from(&held[..]));
    }
    outcome
}

impl Schedule {
    /// Waits until the next request is due; None when the time is up.
    async fn take(&self) -> Option<(u64, Instant)> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.interval {
            None => Instant::now(),
            Some(interval) => self.start + interval.mul_f64(request as f64),
        };
        if due >= self.end || Instant::now() >= self.end {
            return None;
        }
        tokio::time::sleep_until(due).await;
        Some((request, due))
    }
}

impl Outcome {
    fn note(&mut self, answer: Answer, batch: u64, latency: Duration) {
        self.requests += 1;
        match answer {
            Answer::Accepted { rejected } => {
                self.accepted += batch.saturating_sub(rejected);
                self.rejected += rejected;
                self.latency.record(latency);
            }
            Answer::Refused(sentence) => {
                self.refused += 1;
                self.said(sentence, 1);
            }
            Answer::Error(sentence) => {
                self.errors += 1;
                self.said(sentence, 1);
            }
            Answer::Silence(sentence) => {
                self.errors += 1;
                self.unknown += batch;
                self.said(sentence, 1);
            }
        }
    }

    fn said(&mut self, sentence: String, times: u64) {
        let full = self.sentences.len() >= SENTENCES_MAX;
        let sentence =
            if full && !self.sentences.contains_key(&sentence) { "something else".to_owned() } else { sentence };
        *self.sentences.entry(sentence).or_default() += times;
    }

    fn add(&mut self, other: Outcome) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.requests += other.requests;
        self.refused += other.refused;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        for (sentence, times) in other.sentences {
            self.said(sentence, times);
        }
    }
}

fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
