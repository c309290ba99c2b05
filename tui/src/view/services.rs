//! Services: one line each, its numbers and how they went; with room below, the operations of the selected one.

use std::collections::HashMap;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::format;
use crate::panel::Panel;
use crate::rows::Rows;
use crate::state::{RedSort, State, sparkline_columns, starts_ns};
use crate::view::latency::draw_plot;
use crate::view::paint::{self, Column};
use crate::view::{Theme, draw_absence, nothing_in_window};

/// Cells of one number of a table.
const NUMBER: u16 = 7;
/// The least part of a step a rate is projected from: less would be noise.
const FILLED_MIN: f64 = 0.25;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let (order, names, selected) = state.services_listed();
    let Some(shown) = state.shown(Panel::Services).filter(|_| !order.is_empty()) else {
        return draw_nothing(state, theme, area, buffer);
    };
    let list_height =
        if state.services_with_details() { (order.len() as u16 + 3).min(area.height / 3) } else { area.height };
    let (list, below) = paint::split(area, list_height);
    let (heading, list) = paint::split(list, 1);
    let remark =
        format!("{} of {} · rate and p95 over {}", order.len(), shown.rows.len(), format::window(state.window));
    paint::heading(buffer, heading, theme, vec![Span::styled("services", theme.strong())], &remark);

    let spark = sparkline_columns(state.width) as u16;
    let taken = 2 + 5 * (NUMBER + 1) + 2 * (spark + 2);
    let columns = [
        Column::text("service", area.width.saturating_sub(taken + 1).clamp(10, 40)),
        Column::number("rate/s", NUMBER),
        Column::number("errors", NUMBER),
        Column::number("p50", NUMBER),
        Column::number("p95", NUMBER),
        Column::number("p99", NUMBER),
        Column::text(" rate", spark + 1),
        Column::text(" p95", spark + 1),
    ];
    let (titles, list) = paint::split(list, 1);
    paint::titles(buffer, titles, theme, &columns, Some(sort_title(state.services.sort, "service")));

    let series = Series::new(state, usize::from(spark));
    for (line, index) in paint::visible(selected, order.len(), list.height).enumerate() {
        let (row, name) = (order[index], &names[index]);
        let mut cells = vec![(name.clone(), theme.strong())];
        cells.extend(red_cells(&shown.rows, row, shown.question.window, theme));
        let (rate, p95) = series.of(name);
        cells.push((format!(" {rate}"), theme.accent()));
        cells.push((format!(" {p95}"), theme.second()));
        let place = Rect { y: list.y + line as u16, height: 1, ..list };
        paint::row(buffer, place, theme, &columns, &cells, index == selected);
    }
    if below.height > 0 {
        draw_selected(state, theme, below, buffer, &names[selected]);
    }
}

fn draw_nothing(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let answered = state.shown(Panel::Services);
    if answered.is_some_and(|shown| !shown.rows.is_empty()) {
        let what = format!("no service is called like `{}`", state.services.filter);
        return draw_absence(state, theme, area, buffer, true, &what, &["esc clears the filter".to_owned()]);
    }
    let (what, next) = nothing_in_window(state);
    draw_absence(state, theme, area, buffer, answered.is_some(), &what, &next);
}

/// Latency over time and the operations of the selected service.
fn draw_selected(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer, service: &str) {
    let shown = state.shown(Panel::Operations);
    let rows: Vec<(Option<usize>, String)> = shown
        .map(|shown| (0..shown.rows.len()).map(|row| (Some(row), shown.rows.text("name", row).to_owned())).collect())
        .unwrap_or_default();
    let table_height = (rows.len() as u16 + 3).min(area.height / 2);
    let (plot, table) = paint::split(area, area.height - table_height);
    draw_plot(state, theme, plot, buffer, service);
    let (heading, table) = paint::split(table, 1);
    let title = vec![Span::styled("operations of ", theme.dim()), Span::styled(service.to_owned(), theme.strong())];
    paint::heading(buffer, heading, theme, title, "enter looks closer");
    draw_operations(theme, table, buffer, Operations { shown, rows: &rows, selected: None, sort: None, total: None });
}

/// A table of operations, here and below the heatmap.
pub(super) struct Operations<'a> {
    pub(super) shown: Option<&'a crate::state::Shown>,
    /// The row behind each line and what it is called.
    pub(super) rows: &'a [(Option<usize>, String)],
    pub(super) selected: Option<usize>,
    pub(super) sort: Option<RedSort>,
    /// The numbers of a line without a row: all of them together.
    pub(super) total: Option<(&'a Rows, usize, Duration)>,
}

pub(super) fn draw_operations(theme: Theme, area: Rect, buffer: &mut Buffer, operations: Operations) {
    let most = operations
        .shown
        .map_or(0.0, |shown| (0..shown.rows.len()).map(|row| shown.rows.real("requests", row)).fold(0.0, f64::max));
    let bar = if area.width >= 120 { 30 } else { 0 };
    let taken = 2 + 9 + 5 * (NUMBER + 1) + if bar > 0 { bar + 2 } else { 0 };
    let mut columns = vec![
        Column::text("operation", area.width.saturating_sub(taken + 2).clamp(10, 70)),
        Column::text("kind", 8),
        Column::number("rate/s", NUMBER),
        Column::number("errors", NUMBER),
        Column::number("p50", NUMBER),
        Column::number("p95", NUMBER),
        Column::number("p99", NUMBER),
    ];
    if bar > 0 {
        columns.push(Column::text(" share of requests", bar + 1));
    }
    let (titles, list) = paint::split(area, 1);
    let sorted = operations.sort.map(|sort| sort_title(sort, "operation"));
    paint::titles(buffer, titles, theme, &columns, sorted);
    let selected = operations.selected.unwrap_or(0);
    for (line, index) in paint::visible(selected, operations.rows.len(), list.height).enumerate() {
        let (row, name) = &operations.rows[index];
        let mut cells = vec![(name.clone(), theme.text())];
        if let (None, Some((rows, row, window))) = (row, operations.total) {
            cells.push((String::new(), theme.dim()));
            cells.extend(red_cells(rows, row, window, theme));
        }
        if let (Some(row), Some(shown)) = (row, operations.shown) {
            cells.push((shown.rows.text("kind", *row).to_lowercase(), theme.dim()));
            cells.extend(red_cells(&shown.rows, *row, shown.question.window, theme));
            let filled = (shown.rows.real("requests", *row) / most * f64::from(bar)).ceil() as usize;
            cells.push((format!(" {}", "━".repeat(filled.min(usize::from(bar)))), theme.accent()));
        }
        let place = Rect { y: list.y + line as u16, height: 1, ..list };
        paint::row(buffer, place, theme, &columns, &cells, operations.selected == Some(index));
    }
}

/// Rate, errors, p50, p95, p99 of a row.
fn red_cells(rows: &Rows, row: usize, window: Duration, theme: Theme) -> Vec<(String, Style)> {
    let (requests, errors) = (rows.real("requests", row), rows.real("errors", row));
    let mut cells = vec![
        (format::rate(requests / window.as_secs_f64()), theme.text()),
        (format::share(errors, requests), theme.errors(errors, requests)),
    ];
    cells.extend(["p50_ns", "p95_ns", "p99_ns"].map(|column| (format::nanos(rows.real(column, row)), theme.text())));
    cells
}

fn sort_title(sort: RedSort, name: &'static str) -> &'static str {
    match sort {
        RedSort::Name => name,
        RedSort::Rate => "rate/s",
        RedSort::Errors => "errors",
        RedSort::P50 => "p50",
        RedSort::P95 => "p95",
        RedSort::P99 => "p99",
    }
}

/// Rate and p95 of every service in the steps of the sparklines, oldest first.
struct Series<'a> {
    steps: usize,
    by_service: HashMap<&'a str, (Vec<f64>, Vec<f64>)>,
}

impl<'a> Series<'a> {
    fn new(state: &'a State, steps: usize) -> Series<'a> {
        let mut series = Series { steps, by_service: HashMap::new() };
        let Some(shown) = state.shown(Panel::ServicesOverTime) else { return series };
        let starts = starts_ns(shown.at_ns, shown.question.step, steps);
        let newest = steps.saturating_sub(1);
        let filled = (shown.at_ns - starts[newest]) as f64 / shown.question.step.as_nanos() as f64;
        for row in 0..shown.rows.len() {
            let Ok(step) = starts.binary_search(&shown.rows.time_ns("step", row)) else { continue };
            let empty = || (vec![0.0; steps], vec![f64::NAN; steps]);
            let (rate, p95) = series.by_service.entry(shown.rows.text("service", row)).or_insert_with(empty);
            // The newest step is still being filled: as it is it would look like a drop.
            let share = if step == newest { filled } else { 1.0 };
            if share >= FILLED_MIN {
                rate[step] = shown.rows.real("requests", row) / share;
                p95[step] = shown.rows.real("p95_ns", row);
            } else {
                rate[step] = f64::NAN;
            }
        }
        series
    }

    fn of(&self, service: &str) -> (String, String) {
        match self.by_service.get(service) {
            Some((rate, p95)) => (format::sparkline(rate), format::sparkline(p95)),
            None => (" ".repeat(self.steps), " ".repeat(self.steps)),
        }
    }
}
