//! Traces in which a service took part.

use std::time::Duration;

use crate::input::Action;
use crate::panel::{Panel, Question, Value};
use crate::state::cursor::Cursor;
use crate::state::{Screen, State, matches};

/// Hex digits of a trace id.
const TRACE_ID_DIGITS: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Recent,
    Slowest,
    Errors,
}

impl Order {
    pub(crate) const ALL: [Order; 3] = [Order::Recent, Order::Slowest, Order::Errors];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Order::Recent => "recent",
            Order::Slowest => "slowest",
            Order::Errors => "errors",
        }
    }

    fn next(self) -> Order {
        match self {
            Order::Recent => Order::Slowest,
            Order::Slowest => Order::Errors,
            Order::Errors => Order::Recent,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Traces {
    pub(crate) filter: String,
    pub(crate) order: Order,
    /// '' for any.
    pub(crate) service: String,
    /// '' for any.
    pub(crate) operation: String,
    /// Milliseconds since the Unix epoch: only what the service did from here to there.
    pub(crate) between: Option<(i64, i64)>,
    cursor: Cursor,
}

impl Traces {
    pub(crate) fn look_at(&mut self, service: &str, operation: &str, between: Option<(i64, i64)>) {
        *self = Traces {
            service: service.to_owned(),
            operation: operation.to_owned(),
            between,
            order: self.order,
            ..Traces::default()
        };
    }

    pub(super) fn subject(&self) -> String {
        format!("{}\n{}\n{:?}\n{:?}", self.service, self.operation, self.between, self.order)
    }

    /// Takes back the narrowest choice; false when there is none left.
    pub(super) fn widen(&mut self) -> bool {
        if self.between.take().is_some() {
            return true;
        }
        let narrow = if self.operation.is_empty() { &mut self.service } else { &mut self.operation };
        !std::mem::take(narrow).is_empty()
    }
}

impl State {
    /// Rows of the list that match the filter, their ids, and which is selected.
    pub(crate) fn traces_listed(&self) -> (Vec<usize>, Vec<String>, usize) {
        let Some(shown) = self.shown(Panel::Traces) else { return Default::default() };
        let rows = &shown.rows;
        let order: Vec<usize> = (0..rows.len())
            .filter(|row| {
                let texts = ["root", "root_service", "trace_id"].map(|column| rows.text(column, *row));
                matches(&self.traces.filter, &texts)
            })
            .collect();
        let ids: Vec<String> = order.iter().map(|row| rows.text("trace_id", *row).to_owned()).collect();
        let selected = self.traces.cursor.index(&ids);
        (order, ids, selected)
    }

    pub(super) fn ask_traces(&self) -> Vec<Question> {
        let (from_ms, to_ms) = self.traces.between.unwrap_or_default();
        let sql = Panel::Traces.sql(&[
            ("window", Value::Interval(self.window)),
            ("service", Value::Text(&self.traces.service)),
            ("operation", Value::Text(&self.traces.operation)),
            ("order", Value::Text(self.traces.order.name())),
            ("from_ms", Value::Number(from_ms)),
            ("to_ms", Value::Number(to_ms)),
        ]);
        vec![self.question(Panel::Traces, sql, self.window, Duration::ZERO), self.ask_service_list()]
    }

    pub(super) fn act_on_traces(&mut self, action: Action) {
        match action {
            Action::Move(step) => {
                let (_, ids, _) = self.traces_listed();
                self.traces.cursor.go(&ids, step);
            }
            Action::Sort => {
                self.traces.order = self.traces.order.next();
                self.traces.cursor = Cursor::default();
            }
            Action::Enter => self.open_trace(),
            _ => {}
        }
    }

    /// The selected trace, or the one whose id is typed as the filter.
    fn open_trace(&mut self) {
        let (order, ids, selected) = self.traces_listed();
        let typed = self.traces.filter.trim().to_lowercase();
        let is_id = typed.len() == TRACE_ID_DIGITS && typed.chars().all(|digit| digit.is_ascii_hexdigit());
        match (ids.get(selected), self.shown(Panel::Traces)) {
            (Some(id), Some(shown)) => {
                let around_ms = shown.rows.time_ns("time", order[selected]) / 1_000_000;
                self.open_waterfall(id, around_ms);
            }
            _ if is_id => self.open_waterfall(&typed, 0),
            _ => return,
        }
        self.drill(Screen::Waterfall);
    }
}
