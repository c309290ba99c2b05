//! Traces between their first span and their decision.
//!
//! All of them wait equally long, so they are decided in the order they began, and so is the log: its rows are settled range by
//! range, when the last trace that a range has a span of is decided.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::ids::TraceId;
use store::Handover;

use super::policy::{Facts, Policies};
use super::verdicts::{Settled, Verdicts};
use crate::spans::Spans;

/// Rows are named by the number of their trace, counted from the first that waited when the range came; or by what is known.
const KEPT: u32 = u32::MAX;
const LEFT_OUT: u32 = u32::MAX - 1;

/// What is bounded, and how long a trace waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) wait: Duration,
    pub(super) traces_max: usize,
    pub(super) spans_max: usize,
    pub(super) decisions_max: usize,
}

pub(super) struct Window {
    limits: Limits,
    policies: Arc<Policies>,
    traces: HashMap<TraceId, Known>,
    /// Oldest first; the first of them has the number `decided`.
    waiting: VecDeque<Waiting>,
    /// How many traces were decided since the start.
    decided: u64,
    /// Of the last of those, as far back as a range needs them.
    verdicts: VecDeque<bool>,
    ranges: VecDeque<Range>,
    spans: usize,
    /// In the order they were decided, to forget the oldest.
    remembered: VecDeque<TraceId>,
    /// Decided and not written down yet.
    pub(super) unwritten: Vec<(TraceId, bool)>,
    pub(super) tally: Tally,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) kept: u64,
    pub(super) left_out: u64,
    /// Of those, decided before their time because there were too many.
    pub(super) early: u64,
    /// Spans that came after the decision, and followed it.
    pub(super) late_spans: u64,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Waiting(u64),
    Decided(bool),
}

struct Waiting {
    id: TraceId,
    facts: Facts,
    due: Duration,
}

struct Range {
    handover: Handover,
    /// What rows are counted from.
    first: u64,
    /// How many traces have to be decided until all of its rows are.
    last: u64,
    rows: Vec<u32>,
}

impl Window {
    /// With what was decided before, oldest first.
    pub(super) fn new(limits: Limits, policies: Arc<Policies>, decided: Vec<(TraceId, bool)>) -> Window {
        let mut window = Window {
            limits,
            policies,
            traces: HashMap::new(),
            waiting: VecDeque::new(),
            decided: 0,
            verdicts: VecDeque::new(),
            ranges: VecDeque::new(),
            spans: 0,
            remembered: VecDeque::new(),
            unwritten: Vec::new(),
            tally: Tally::default(),
        };
        decided.into_iter().for_each(|(id, keep)| window.remember(id, keep));
        window
    }

    /// Takes in the next range. `now` is of a clock that only goes forward.
    pub(super) fn admit(&mut self, mut handover: Handover, verdicts: &Verdicts, now: Duration) {
        let first = self.decided;
        let mut rows = Vec::with_capacity(handover.rows as usize);
        let mut last = first;
        let batches = std::mem::take(&mut handover.batches);
        // Written down before a crash: it may have gone on already.
        let known_rows = verdicts.rows(handover.segment);
        for spans in batches.iter().filter_map(Spans::of) {
            for row in 0..spans.len() {
                let number = handover.first_row + rows.len() as u64;
                let known = if number < known_rows { verdicts.of(handover.segment, number) } else { None };
                rows.push(match self.span(&spans, row, known, now) {
                    Known::Decided(true) => KEPT,
                    Known::Decided(false) => LEFT_OUT,
                    Known::Waiting(number) => {
                        last = last.max(number + 1);
                        (number - first) as u32
                    }
                });
            }
        }
        self.spans += rows.len();
        self.ranges.push_back(Range { handover, first, last, rows });
        self.bound(now);
    }

    fn span(&mut self, spans: &Spans<'_>, row: usize, known: Option<bool>, now: Duration) -> Known {
        let id = spans.trace_id(row);
        let found = self.traces.get(&id).copied();
        match (found, known) {
            (Some(Known::Decided(keep)), None) => {
                self.tally.late_spans += 1;
                Known::Decided(keep)
            }
            (_, Some(keep)) => {
                // A trace is decided once: its other spans follow this one.
                if found.is_none() {
                    self.remember(id, keep);
                }
                Known::Decided(keep)
            }
            (Some(Known::Waiting(number)), None) => {
                // Those that were decided have left `waiting`.
                if let Some(trace) = self.waiting.get_mut((number - self.decided) as usize) {
                    self.policies.add(&mut trace.facts, spans, row);
                }
                Known::Waiting(number)
            }
            (None, None) => {
                let number = self.decided + self.waiting.len() as u64;
                let mut facts = Facts::default();
                self.policies.add(&mut facts, spans, row);
                self.waiting.push_back(Waiting { id, facts, due: now + self.limits.wait });
                self.traces.insert(id, Known::Waiting(number));
                if self.waiting.len() > self.limits.traces_max {
                    self.decide(now);
                    self.tally.early += 1;
                }
                Known::Waiting(number)
            }
        }
    }

    /// When the next trace is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.waiting.front().map(|trace| trace.due)
    }

    /// Decides what has waited long enough.
    pub(super) fn decide_due(&mut self, now: Duration) {
        while self.due().is_some_and(|due| due <= now) {
            self.decide(now);
        }
    }

    /// The oldest range all of whose rows are decided.
    pub(super) fn settled(&self) -> Option<(&Handover, Settled)> {
        let range = self.ranges.front().filter(|range| range.last <= self.decided)?;
        let oldest = self.decided - self.verdicts.len() as u64;
        let keeps = range.rows.iter().map(|row| match *row {
            KEPT => true,
            LEFT_OUT => false,
            number => self.verdicts[(range.first + u64::from(number) - oldest) as usize],
        });
        let Handover { segment, first_row, .. } = range.handover;
        Some((&range.handover, Settled { segment, first_row, keeps: keeps.collect() }))
    }

    /// The oldest range is written down.
    pub(super) fn pass(&mut self) -> Option<Handover> {
        let range = self.ranges.pop_front()?;
        self.spans -= range.rows.len();
        let needed = self.ranges.front().map_or(0, |next| self.decided - next.first);
        let gone = self.verdicts.len().saturating_sub(needed as usize);
        self.verdicts.drain(..gone);
        Some(range.handover)
    }

    pub(super) fn traces_waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn spans_waiting(&self) -> usize {
        self.spans
    }

    /// Decides traces early when their spans are too many to remember.
    fn bound(&mut self, now: Duration) {
        let mut spans = self.spans;
        let mut until = 0;
        for range in &self.ranges {
            if spans <= self.limits.spans_max {
                break;
            }
            spans -= range.rows.len();
            until = range.last;
        }
        while self.decided < until && !self.waiting.is_empty() {
            self.decide(now);
            self.tally.early += 1;
        }
    }

    /// The oldest.
    fn decide(&mut self, now: Duration) {
        let Some(trace) = self.waiting.pop_front() else { return };
        let keep = self.policies.keep(&trace.id, &trace.facts, now);
        match keep {
            true => self.tally.kept += 1,
            false => self.tally.left_out += 1,
        }
        self.decided += 1;
        self.verdicts.push_back(keep);
        self.remember(trace.id, keep);
        self.unwritten.push((trace.id, keep));
    }

    fn remember(&mut self, id: TraceId, keep: bool) {
        self.traces.insert(id, Known::Decided(keep));
        self.remembered.push_back(id);
        while self.remembered.len() > self.limits.decisions_max {
            let Some(oldest) = self.remembered.pop_front() else { return };
            // Unless it came again after it had been forgotten, and waits.
            if matches!(self.traces.get(&oldest), Some(Known::Decided(_))) {
                self.traces.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Batch, Signal, decode_json};
    use store::{Portion, Writer};

    use super::*;
    use crate::sampling::config::parse;

    const FRAME: Portion = Portion { rows_min: 1, wait_max: Duration::ZERO, rows_max: 1, bytes_max: 1 };
    const WAIT: u64 = 5;
    const ROUNDS: u64 = 120;

    /// Trace and whether it failed, of each span of each round.
    type Story = Vec<Vec<(u64, bool)>>;

    /// The same each time, and without a pattern.
    fn story() -> Story {
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        (0..ROUNDS).map(|round| (0..=next(6)).map(|_| (1 + round / 2 + next(12), next(9) == 0)).collect()).collect()
    }

    fn batches(spans: &[(u64, bool)], first: usize) -> Vec<Batch> {
        let spans = spans.iter().enumerate().map(|(at, (trace, failed))| {
            let (id, code) = (first + at + 1, if *failed { 2 } else { 0 });
            format!(r#"{{"traceId":"{trace:032x}","spanId":"{id:016x}","status":{{"code":{code}}}}}"#)
        });
        let spans = spans.collect::<Vec<_>>().join(",");
        let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        decode_json(Signal::Traces, request.as_bytes()).expect("it is OTLP").batches
    }

    /// Reads a range a second, and returns the verdicts on all rows in order.
    async fn verdicts(story: &Story, limits: Limits) -> (Vec<bool>, Tally) {
        let data = tempfile::tempdir().expect("a temporary folder");
        let writer = Writer::open(store::Args::new(data.path())).await.expect("an empty folder");
        let mut spans = 0;
        for round in story {
            let place = writer.reserve(Signal::Traces, 100).expect("there is room");
            place.append(batches(round, spans)).await.expect("the disk works");
            spans += round.len();
        }
        let config = parse(r#"tail-sampling.policies = [{ name = "failed", keep = { status = "Error" } }]"#);
        let policies = Arc::new(Policies::new(&config.expect("it makes sense")));
        let cursor = writer.cursor("test", Signal::Traces).await.expect("it is the first");
        let nothing = Verdicts::open(&cursor.folder().await.expect("it can be made")).expect("it is empty");
        let mut window = Window::new(limits, policies, Vec::new());
        let (mut ahead, mut settled) = (cursor.ahead(), Vec::new());
        for second in 0..story.len() as u64 + WAIT {
            let now = Duration::from_secs(second);
            if second < story.len() as u64 {
                window.admit(ahead.next(&FRAME).await.expect("it is there"), &nothing, now);
            }
            window.decide_due(now);
            while let Some((_, part)) = window.settled() {
                settled.extend(part.keeps);
                window.pass();
            }
        }
        assert_eq!((window.traces_waiting(), window.spans_waiting(), window.verdicts.len()), (0, 0, 0));
        writer.close().await.expect("the disk works");
        (settled, window.tally)
    }

    fn limits() -> Limits {
        Limits { wait: Duration::from_secs(WAIT), traces_max: 1000, spans_max: 1000, decisions_max: 1000 }
    }

    #[tokio::test]
    async fn every_row_has_the_verdict_of_its_trace_at_its_time() {
        let story = story();
        let mut seen = BTreeMap::<u64, (u64, bool)>::new();
        for (second, round) in (0..).zip(&story) {
            for (trace, failed) in round {
                let (first, keep) = seen.entry(*trace).or_insert((second, false));
                *keep |= *failed && second <= *first + WAIT;
            }
        }
        let expected: Vec<bool> = story.iter().flatten().map(|(trace, _)| seen[trace].1).collect();
        let (found, tally) = verdicts(&story, limits()).await;
        assert_eq!(found, expected);
        let kept = seen.values().filter(|(_, keep)| *keep).count() as u64;
        assert!(kept > 5 && tally.late_spans > 5, "the story has a bit of everything: {tally:?}");
        assert_eq!((tally.kept, tally.left_out, tally.early), (kept, seen.len() as u64 - kept, 0));
    }

    #[tokio::test]
    async fn with_too_little_room_traces_are_still_decided_once_and_whole() {
        let story = story();
        for limits in [Limits { traces_max: 3, ..limits() }, Limits { spans_max: 6, ..limits() }] {
            let (found, tally) = verdicts(&story, limits).await;
            let mut by_trace = BTreeMap::new();
            for ((trace, _), keep) in story.iter().flatten().zip(found) {
                assert_eq!(*by_trace.entry(*trace).or_insert(keep), keep, "{trace}");
            }
            assert!(tally.early > 5, "{tally:?}");
            assert_eq!(tally.kept + tally.left_out, by_trace.len() as u64);
        }
    }
}
