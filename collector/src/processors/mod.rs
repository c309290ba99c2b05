//! What happens to rows between their arrival and the log, as `[processors]` declares it: attributes are edited, records nobody
//! wants are dropped, traces are sampled, and what must not be kept is masked.
//!
//! The order is fixed. Rules about attributes come first, so that all others see what they made. Redaction comes last, so that
//! nothing reaches the log that did not pass it, and conditions can still tell the values that it hides. What is dropped is
//! counted here and is not `rejected`: its sender did nothing wrong.
//!
//! A request that comes again, byte for byte, is a matter of the store, which alone knows what is durable.
//!
//! All of it works on the columns of a batch, on the thread that decoded them. Without a declaration there is nothing to do.

mod attributes;
mod cards;
mod columns;
mod condition;
pub(crate) mod config;
mod counts;
mod redaction;
mod sampling;
mod threshold;
mod trace_state;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use model::{Batch, EXPANSION_BYTES_MAX, Signal};
use sha2::{Digest as _, Sha256};
use store::Digest;

use attributes::Edit;
use config::{Config, Unwanted};
use counts::Counts;
pub(crate) use counts::Processor;
use redaction::Redaction;

#[derive(Default)]
pub(crate) struct Processors {
    edits: Vec<Edit>,
    drops: Vec<Unwanted>,
    sampling: Option<sampling::Config>,
    redaction: Option<Redaction>,
    repeats: Option<store::Repeats>,
    counts: Counts,
}

/// What rules add to a request's own attributes has no room in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl TooLarge {
    fn check(bytes: usize) -> Result<(), TooLarge> {
        if bytes > EXPANSION_BYTES_MAX { Err(TooLarge) } else { Ok(()) }
    }
}

impl Processors {
    /// As the file declares them; none without a file.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Processors> {
        match path {
            Some(path) => Processors::new(config::read(path)?),
            None => Ok(Processors::default()),
        }
    }

    fn new(config: Config) -> anyhow::Result<Processors> {
        let Config { attributes, redaction, filter, sampling, repeats } = config;
        let redaction = redaction.map(Redaction::new).transpose();
        let redaction = redaction.context("the patterns of [processors.redaction] are too large together")?;
        let repeats = repeats.map(|repeats| store::Repeats {
            window: Duration::from_secs(repeats.window_seconds.get()),
            requests_max: repeats.requests_max.get(),
        });
        Ok(Processors { edits: attributes, drops: filter, sampling, redaction, repeats, counts: Counts::default() })
    }

    /// What the store has to know to refuse requests that come again.
    pub(crate) fn repeats(&self) -> Option<store::Repeats> {
        self.repeats
    }

    /// What stands for a request of these bytes, when that matters. Cut off where a chance of two being equal is no chance.
    pub(crate) fn digest(&self, body: &[u8]) -> Option<Digest> {
        let digest = || *Sha256::digest(body).first_chunk().expect("a digest has 32 bytes");
        self.repeats.map(|_| Digest(digest()))
    }

    /// The rows that are to be kept, as they are to be kept.
    pub(crate) fn apply(&self, batches: Vec<Batch>) -> Result<Vec<Batch>, TooLarge> {
        match Processor::ALL.into_iter().any(|processor| self.is_declared(processor)) {
            true => batches.into_iter().map(|batch| self.apply_to(batch)).collect(),
            false => Ok(batches),
        }
    }

    fn apply_to(&self, mut batch: Batch) -> Result<Batch, TooLarge> {
        let signal = batch.table().signal();
        for edit in self.edits.iter().filter(|edit| edit.signals.has(signal)) {
            let (edited, count) = edit.apply(batch)?;
            self.counts.add(Processor::Attributes, signal, count);
            batch = edited;
        }
        if !self.drops.is_empty() {
            batch = self.counting_dropped(Processor::Filter, batch, |batch| self.filter(batch));
        }
        if let Some(sampling) = &self.sampling {
            batch = self.counting_dropped(Processor::Sampling, batch, |batch| sampling.apply(batch));
        }
        if let Some(redaction) = &self.redaction {
            let (redacted, count) = redaction.apply(batch)?;
            self.counts.add(Processor::Redaction, signal, count);
            batch = redacted;
        }
        Ok(batch)
    }

    /// The batch without the records that some rule wants dropped.
    fn filter(&self, batch: Batch) -> Batch {
        let signal = batch.table().signal();
        let mut marks = vec![true; batch.num_rows()];
        for rule in self.drops.iter().filter(|rule| rule.signals.has(signal)) {
            marks.iter_mut().zip(rule.drop.holds(&batch)).for_each(|(mark, drop)| *mark &= !drop);
        }
        match marks.iter().all(|mark| *mark) {
            true => batch,
            false => columns::kept(&batch, marks),
        }
    }

    fn counting_dropped(&self, processor: Processor, batch: Batch, work: impl FnOnce(Batch) -> Batch) -> Batch {
        let (signal, before) = (batch.table().signal(), batch.num_rows());
        let batch = work(batch);
        self.counts.add(processor, signal, (before - batch.num_rows()) as u64);
        batch
    }

    fn is_declared(&self, processor: Processor) -> bool {
        match processor {
            Processor::Attributes => !self.edits.is_empty(),
            Processor::Filter => !self.drops.is_empty(),
            Processor::Sampling => self.sampling.is_some(),
            Processor::Redaction => self.redaction.is_some(),
        }
    }

    /// What each of them did to each signal since the start; only of those that are declared.
    pub(crate) fn counted(&self) -> Vec<Counted> {
        let declared = Processor::ALL.into_iter().filter(|processor| self.is_declared(*processor));
        let counted = |processor| {
            let of = move |signal| Counted { processor, signal, count: self.counts.of(processor, signal) };
            Signal::ALL.into_iter().map(of)
        };
        declared.flat_map(counted).collect()
    }
}

/// What a processor did to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub processor: Processor,
    pub signal: Signal,
    pub count: u64,
}
