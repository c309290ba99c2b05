//! The latency of one service, or of one of its operations, over time.

use std::time::Duration;

use crate::input::{Action, Step};
use crate::panel::{Panel, Question, Value};
use crate::state::cursor::Cursor;
use crate::state::red::{self, Sort};
use crate::state::steps::{starts_ns, step};
use crate::state::traces::Order;
use crate::state::{Screen, State};

/// The first line of the list of operations.
pub(crate) const ALL_OPERATIONS: &str = "all operations";

/// Cells left of the heatmap for its axis, and right of it.
pub(crate) const AXIS_COLUMNS: u16 = 8;
const MARGIN_COLUMNS: u16 = 2;

#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) filter: String,
    pub(crate) sort: Sort,
    /// Start of the column under the cursor, nanoseconds; none until h or l is pressed.
    pub(crate) column_ns: Option<i64>,
    /// '' until one was chosen: then the one selected among the services.
    service: String,
    cursor: Cursor,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            filter: String::new(),
            sort: Sort::Rate,
            column_ns: None,
            service: String::new(),
            cursor: Cursor::default(),
        }
    }
}

impl Latency {
    pub(crate) fn look_at(&mut self, service: &str) {
        *self = Latency { service: service.to_owned(), sort: self.sort, ..Latency::default() };
    }

    /// True when there was a column to leave.
    pub(super) fn leave_column(&mut self) -> bool {
        self.column_ns.take().is_some()
    }
}

/// Time columns of the heatmap at this width of the terminal.
pub(crate) fn heatmap_columns(width: u16) -> usize {
    usize::from(width.saturating_sub(AXIS_COLUMNS + MARGIN_COLUMNS)).max(10)
}

impl State {
    /// The service whose latency is drawn: the chosen one, else the one selected among the services; '' while none is known.
    pub(crate) fn service(&self) -> String {
        match self.screen {
            Screen::Latency if !self.latency.service.is_empty() => self.latency.service.clone(),
            _ => self.selected_service(),
        }
    }

    /// The selected operation; '' for all of them.
    pub(crate) fn operation(&self) -> String {
        if self.screen != Screen::Latency {
            return String::new();
        }
        let (_, names, selected) = self.operations_listed();
        names.get(selected).filter(|name| *name != ALL_OPERATIONS).cloned().unwrap_or_default()
    }

    /// Lines of the list of operations: the row of each (none for all), their names, and which is selected.
    pub(crate) fn operations_listed(&self) -> (Vec<Option<usize>>, Vec<String>, usize) {
        let subject = self.service();
        let operations = self.shown.get(&Panel::Operations).filter(|shown| shown.question.subject == subject);
        let (mut order, mut names) = (vec![None], vec![ALL_OPERATIONS.to_owned()]);
        if let Some(shown) = operations {
            for row in red::order(&shown.rows, "name", &self.latency.filter, self.latency.sort) {
                order.push(Some(row));
                names.push(shown.rows.text("name", row).to_owned());
            }
        }
        let selected = self.latency.cursor.index(&names);
        (order, names, selected)
    }

    /// Starts of the heatmap's columns as last answered, oldest first, and their width.
    pub(crate) fn heatmap_columns_ns(&self) -> Option<(Vec<i64>, Duration)> {
        let shown = self.shown(Panel::Heatmap)?;
        let step = shown.question.step;
        let columns = shown.question.window.as_nanos() / step.as_nanos().max(1);
        Some((starts_ns(shown.at_ns, step, usize::try_from(columns).unwrap_or(1)), step))
    }

    pub(super) fn ask_latency(&self) -> Vec<Question> {
        let mut questions = vec![self.ask_service_list()];
        let service = self.service();
        if service.is_empty() {
            return questions;
        }
        questions.push(self.ask_operations(&service));
        questions.extend(self.ask_heatmap(&service));
        questions
    }

    /// The heatmap and its lines.
    pub(super) fn ask_heatmap(&self, service: &str) -> [Question; 2] {
        let operation = self.operation();
        let columns = heatmap_columns(self.width);
        let step = step(self.window, columns);
        let span = step * columns as u32;
        let values = [
            ("window", Value::Interval(span)),
            ("step", Value::Interval(step)),
            ("service", Value::Text(service)),
            ("operation", Value::Text(&operation)),
        ];
        [Panel::Heatmap, Panel::Percentiles].map(|panel| self.question(panel, panel.sql(&values), span, step))
    }

    pub(super) fn act_on_latency(&mut self, action: Action) {
        match action {
            Action::Move(Step::Left) => self.move_column(-1),
            Action::Move(Step::Right) => self.move_column(1),
            Action::Move(step) => {
                let (_, names, _) = self.operations_listed();
                self.latency.cursor.go(&names, step);
            }
            Action::Sort => self.latency.sort = self.latency.sort.next(),
            Action::Enter => self.open_traces_of_selection(),
            _ => {}
        }
    }

    fn move_column(&mut self, by: isize) {
        let Some((starts, _)) = self.heatmap_columns_ns() else { return };
        let last = starts.len().saturating_sub(1);
        let here = match self.latency.column_ns {
            Some(ns) => starts.partition_point(|start| *start < ns).min(last),
            None => last,
        };
        let next = if self.latency.column_ns.is_none() { here } else { here.saturating_add_signed(by).min(last) };
        self.latency.column_ns = starts.get(next).copied();
    }

    /// A column's traces are shown slowest first: that is why one points at it.
    fn open_traces_of_selection(&mut self) {
        let (service, operation) = (self.service(), self.operation());
        if service.is_empty() {
            return;
        }
        let step_ns = self.heatmap_columns_ns().map_or(0, |(_, step)| step.as_nanos() as i64);
        let between = self.latency.column_ns.map(|start| (start / 1_000_000, (start + step_ns) / 1_000_000));
        self.traces.look_at(&service, &operation, between);
        if between.is_some() {
            self.traces.order = Order::Slowest;
        }
        self.drill(Screen::Traces);
    }
}
