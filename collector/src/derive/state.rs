//! All that was counted, in a file that is replaced as a whole.
//!
//! It is written before a range of the log is taken and names that range. So after a crash the range comes again and is known:
//! no span is counted twice, and none is left out. What was told of it needs no such care. A point is the sum since the series
//! began: one that was never written is made good by the next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::Signal;
use serde::{Deserialize, Serialize};
use store::Handover;

use super::args::Args;
use super::series::{Clock, Histogram, Table};
use super::service_graph::{Graph, Limits};
use super::span_metrics;
use crate::spans::Spans;

/// Another number: written by a version this one does not understand.
const FORMAT: u32 = 1;

const FILE: &str = "state.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// What spans are counted by besides the four. Another list begins anew.
    attributes: Vec<String>,
    /// The last range that is counted.
    range: String,
    /// When the points were told last, wall clock.
    pub(super) told_ms: u64,
    pub(super) spans: Table<Histogram>,
    pub(super) graph: Graph,
}

impl State {
    pub(super) fn new(args: &Args, now_ms: u64) -> State {
        State {
            format: FORMAT,
            attributes: args.span_metrics_attributes.clone(),
            range: String::new(),
            told_ms: now_ms,
            spans: Table::default(),
            graph: Graph::default(),
        }
    }

    /// What is no longer asked for, or asked for otherwise, is forgotten.
    fn fitted(mut self, args: &Args) -> State {
        if !args.span_metrics || self.attributes != args.span_metrics_attributes {
            self.spans = Table::default();
        }
        if !args.service_graph {
            self.graph = Graph::default();
        }
        self.attributes.clone_from(&args.span_metrics_attributes);
        self.graph = self.graph.restored();
        self
    }

    /// Counts the spans of a range, once. The clock is when it was handed out first, so that it is counted alike each time.
    pub(super) fn count(&mut self, handover: &Handover, args: &Args) {
        if handover.signal != Signal::Traces || self.range == handover.name {
            return;
        }
        let clock = Clock { now_ms: handover.since_ms, told_ms: self.told_ms };
        let limits = limits(args);
        for spans in handover.batches.iter().filter_map(Spans::of) {
            if args.span_metrics {
                span_metrics::count(&spans, &args.span_metrics_attributes, &mut self.spans, limits.series_max, clock);
            }
            if args.service_graph {
                self.graph.count(&spans, limits, clock);
            }
        }
        // Afterwards: the other side of what waited while we were down may be in the range.
        self.graph.expire(limits, clock);
        self.range.clone_from(&handover.name);
    }

    /// As of now: what waited too long, and what nobody adds to any more, is given up. Returns the time to tell, later than
    /// the one before whatever the clock says.
    pub(super) fn settle(&mut self, args: &Args, now_ms: u64) -> u64 {
        let now_ms = now_ms.max(self.told_ms + 1);
        self.graph.expire(limits(args), Clock { now_ms, told_ms: self.told_ms });
        let before_ms = now_ms.saturating_sub(args.idle_ms_max());
        self.spans.forget(before_ms);
        self.graph.edges.forget(before_ms);
        self.told_ms = now_ms;
        now_ms
    }
}

fn limits(args: &Args) -> Limits {
    Limits {
        waiting_max: args.service_graph_waiting_max,
        wait_ms_max: args.service_graph_wait_max_ms,
        series_max: args.derived_series_max,
    }
}

/// Where the state rests.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    folder: PathBuf,
}

impl StateFile {
    pub(super) fn new(folder: PathBuf) -> StateFile {
        StateFile { folder }
    }

    /// None when there is no file yet.
    pub(super) fn load(&self, args: &Args) -> io::Result<Option<State>> {
        let bytes = match fs::read(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let state: State = serde_json::from_slice(&bytes)?;
        if state.format != FORMAT {
            let sentence = format!("its format is {}, this version reads {FORMAT}", state.format);
            return Err(io::Error::other(sentence));
        }
        Ok(Some(state.fitted(args)))
    }

    /// Returns when it survives a power loss; after an error the old one is there.
    pub(super) fn save(&self, state: &State) -> io::Result<()> {
        let temporary = self.folder.join(format!("{FILE}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path())?;
        sync_folder(&self.folder)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
