//! The dependencies: edges between services, called or sent messages through a topic.

use std::time::Duration;

use crate::input::{Action, Step};
use crate::panel::{Panel, Question, Value};
use crate::state::cursor::Cursor;
use crate::state::{Screen, State, matches};

#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    pub(crate) filter: String,
    pub(crate) sort: Sort,
    cursor: Cursor,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Rate,
    Errors,
    P95,
}

impl Sort {
    fn next(self) -> Sort {
        match self {
            Sort::Name => Sort::Rate,
            Sort::Rate => Sort::Errors,
            Sort::Errors => Sort::P95,
            Sort::P95 => Sort::Name,
        }
    }
}

/// One arrow. `topic` is '' for a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) topic: String,
    pub(crate) is_message: bool,
    /// The target sends no spans: a database, somebody else's API.
    pub(crate) is_external: bool,
    pub(crate) per_second: f64,
    pub(crate) requests: f64,
    pub(crate) errors: f64,
    pub(crate) p95_ns: f64,
    /// From the end of sending to the start of processing; NaN for a call.
    pub(crate) lag_p95_ns: f64,
    /// Messages waiting for this consumer on this topic; NaN when nobody measures it.
    pub(crate) waiting: f64,
}

impl Edge {
    fn key(&self) -> String {
        format!("{}\n{}\n{}", self.source, self.target, self.topic)
    }
}

impl State {
    /// The edges in the order of the list, and which is selected.
    pub(crate) fn edges_listed(&self) -> (Vec<Edge>, usize) {
        let Some(shown) = self.shown(Panel::Dependencies) else { return Default::default() };
        let rows = &shown.rows;
        let mut edges: Vec<Edge> = (0..rows.len())
            .filter(|row| {
                let texts = [rows.text("source", *row), rows.text("target", *row), rows.text("topic", *row)];
                matches(&self.dependencies.filter, &texts)
            })
            .map(|row| {
                let (target, topic) = (rows.text("target", row), rows.text("topic", row));
                Edge {
                    source: rows.text("source", row).to_owned(),
                    target: target.to_owned(),
                    topic: topic.to_owned(),
                    is_message: rows.text("connection", row) == "message",
                    is_external: rows.text("external", row) == "true",
                    per_second: rows.real("requests", row) / rows.real("seconds", row),
                    requests: rows.real("requests", row),
                    errors: rows.real("errors", row),
                    p95_ns: rows.real("p95_ns", row),
                    lag_p95_ns: rows.real("lag_p95_ns", row),
                    waiting: self.waiting(topic, target),
                }
            })
            .collect();
        let sort = self.dependencies.sort;
        edges.sort_by(|a, b| {
            let heavier = match sort {
                Sort::Name => std::cmp::Ordering::Equal,
                Sort::Rate => b.requests.total_cmp(&a.requests),
                Sort::Errors => (b.errors / b.requests).total_cmp(&(a.errors / a.requests)),
                Sort::P95 => b.p95_ns.total_cmp(&a.p95_ns),
            };
            heavier.then_with(|| a.key().cmp(&b.key()))
        });
        let selected = self.dependencies.cursor.index(&keys(&edges));
        (edges, selected)
    }

    fn waiting(&self, topic: &str, consumer: &str) -> f64 {
        let Some(shown) = self.shown(Panel::ConsumerLag) else { return f64::NAN };
        let rows = &shown.rows;
        (0..rows.len())
            .find(|row| rows.text("topic", *row) == topic && rows.text("consumer", *row) == consumer)
            .map_or(f64::NAN, |row| rows.real("waiting", row))
    }

    pub(super) fn ask_dependencies(&self) -> Vec<Question> {
        [Panel::Dependencies, Panel::ConsumerLag]
            .map(|panel| {
                let sql = panel.sql(&[("window", Value::Interval(self.window))]);
                self.question(panel, sql, self.window, Duration::ZERO)
            })
            .into()
    }

    pub(super) fn act_on_dependencies(&mut self, action: Action) {
        match action {
            Action::Move(Step::Left) => self.follow(|edge, here| edge.target == here.source),
            Action::Move(Step::Right) => self.follow(|edge, here| edge.source == here.target),
            Action::Move(step) => {
                let (edges, _) = self.edges_listed();
                self.dependencies.cursor.go(&keys(&edges), step);
            }
            Action::Sort => self.dependencies.sort = self.dependencies.sort.next(),
            Action::Enter => {
                let (edges, selected) = self.edges_listed();
                if let Some(edge) = edges.get(selected) {
                    self.latency.look_at(&edge.target);
                    self.drill(Screen::Latency);
                }
            }
            _ => {}
        }
    }

    /// h and l walk along the arrows: to the first edge that leads here, or on from here.
    fn follow(&mut self, leads: impl Fn(&Edge, &Edge) -> bool) {
        let (edges, selected) = self.edges_listed();
        let Some(here) = edges.get(selected) else { return };
        if let Some(next) = edges.iter().find(|edge| *edge != here && leads(edge, here)) {
            self.dependencies.cursor = Cursor::at(&next.key());
        }
    }
}

fn keys(edges: &[Edge]) -> Vec<String> {
    edges.iter().map(Edge::key).collect()
}
