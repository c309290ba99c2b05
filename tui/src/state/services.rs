//! The services: a sorted list and the one that is selected.

use std::time::Duration;

use crate::input::Action;
use crate::panel::{Panel, Question, Value};
use crate::state::cursor::Cursor;
use crate::state::red::{self, Sort};
use crate::state::steps::step;
use crate::state::{Screen, State};

/// From this height on the selected service's latency and operations are shown below the list.
const DETAILS_FROM_HEIGHT: u16 = 40;

#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(crate) filter: String,
    pub(crate) sort: Sort,
    cursor: Cursor,
}

/// Cells of one sparkline at this width of the terminal; there are two in a row.
pub(crate) fn sparkline_columns(width: u16) -> usize {
    usize::from(width.saturating_sub(62) / 2).clamp(6, 60)
}

impl State {
    /// Services in the order of the list: rows of the panel, their names, and which is selected.
    pub(crate) fn services_listed(&self) -> (Vec<usize>, Vec<String>, usize) {
        let Some(shown) = self.shown(Panel::Services) else { return Default::default() };
        let order = red::order(&shown.rows, "service", &self.services.filter, self.services.sort);
        let names: Vec<String> = order.iter().map(|row| shown.rows.text("service", *row).to_owned()).collect();
        let selected = self.services.cursor.index(&names);
        (order, names, selected)
    }

    pub(crate) fn selected_service(&self) -> String {
        let (_, names, selected) = self.services_listed();
        names.get(selected).cloned().unwrap_or_default()
    }

    pub(crate) fn services_with_details(&self) -> bool {
        self.height >= DETAILS_FROM_HEIGHT
    }

    pub(super) fn ask_services(&self) -> Vec<Question> {
        let columns = sparkline_columns(self.width);
        let step = step(self.window, columns);
        let span = step * columns as u32;
        let over_time =
            Panel::ServicesOverTime.sql(&[("window", Value::Interval(span)), ("step", Value::Interval(step))]);
        let mut questions =
            vec![self.ask_service_list(), self.question(Panel::ServicesOverTime, over_time, span, step)];
        let service = self.selected_service();
        if self.services_with_details() && !service.is_empty() {
            questions.push(self.ask_operations(&service));
            questions.extend(self.ask_heatmap(&service));
        }
        questions
    }

    pub(super) fn ask_service_list(&self) -> Question {
        let sql = Panel::Services.sql(&[("window", Value::Interval(self.window))]);
        self.question(Panel::Services, sql, self.window, Duration::ZERO)
    }

    pub(super) fn ask_operations(&self, service: &str) -> Question {
        let values = [("window", Value::Interval(self.window)), ("service", Value::Text(service))];
        self.question(Panel::Operations, Panel::Operations.sql(&values), self.window, Duration::ZERO)
    }

    pub(super) fn act_on_services(&mut self, action: Action) {
        match action {
            Action::Move(step) => {
                let (_, names, _) = self.services_listed();
                self.services.cursor.go(&names, step);
            }
            Action::Sort => self.services.sort = self.services.sort.next(),
            Action::Enter => {
                let service = self.selected_service();
                if !service.is_empty() {
                    self.latency.look_at(&service);
                    self.drill(Screen::Latency);
                }
            }
            _ => {}
        }
    }
}
