//! Traces of a service: when, how long, what, and how many spans, services and errors.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Span;

use crate::format;
use crate::panel::Panel;
use crate::state::{Order, State};
use crate::view::paint::{self, Column};
use crate::view::{Theme, draw_absence, nothing_in_window};

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let (heading, area) = paint::split(area, 1);
    draw_heading(state, theme, heading, buffer);
    let (order, _, selected) = state.traces_listed();
    let Some(shown) = state.shown(Panel::Traces).filter(|_| !order.is_empty()) else {
        return draw_nothing(state, theme, area, buffer);
    };
    let rows = &shown.rows;
    let bar = if area.width >= 120 { 40 } else { 14 };
    let taken = 2 + 9 + 8 + (bar + 1) + 6 + 5 + 7;
    let operation = area.width.saturating_sub(taken + 1);
    let columns = [
        Column::text("started", 8),
        Column::number("took", 7),
        Column::text("", bar),
        Column::text("first span", operation.max(10)),
        Column::number("spans", 5),
        Column::number("svcs", 4),
        Column::number("errors", 6),
    ];
    let (titles, list) = paint::split(area, 1);
    paint::titles(buffer, titles, theme, &columns, None);
    let longest = order.iter().map(|row| rows.real("duration_ns", *row)).fold(1.0, f64::max);
    for (line, index) in paint::visible(selected, order.len(), list.height).enumerate() {
        let row = order[index];
        let (duration, errors) = (rows.real("duration_ns", row), rows.real("errors", row));
        let filled = ((duration / longest * f64::from(bar)).ceil() as usize).clamp(1, usize::from(bar));
        let bar_style = if errors > 0.0 { theme.bad() } else { theme.accent() };
        let cells = [
            (format::clock(rows.time_ns("time", row), false), theme.text()),
            (format::nanos(duration), theme.strong()),
            ("━".repeat(filled), bar_style),
            (format!("{} {}", rows.text("root_service", row), rows.text("root", row)), theme.text()),
            (format::count(rows.real("spans", row)), theme.dim()),
            (format::count(rows.real("services", row)), theme.dim()),
            (format::count(errors), theme.errors(errors, errors.max(1.0))),
        ];
        let place = Rect { y: list.y + line as u16, height: 1, ..list };
        paint::row(buffer, place, theme, &columns, &cells, index == selected);
    }
}

/// What is looked for, and in which order it comes.
fn draw_heading(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let traces = &state.traces;
    let service = if traces.service.is_empty() { "all services" } else { &traces.service };
    let mut title = vec![Span::styled("traces of ", theme.dim()), Span::styled(service.to_owned(), theme.strong())];
    if !traces.operation.is_empty() {
        title.push(Span::styled(format!(" {}", traces.operation), theme.text()));
    }
    if let Some((from_ms, to_ms)) = traces.between {
        let [from, to] = [from_ms, to_ms].map(|ms| format::clock(ms * 1_000_000, false));
        title.push(Span::styled(format!(" {from} to {to}"), theme.warn()));
    }
    paint::heading(buffer, area, theme, title, "");
    let orders = Order::ALL
        .map(|order| if order == traces.order { format!("[{}]", order.name()) } else { order.name().to_owned() });
    let orders = Span::styled(format!(" {} ", orders.join(" ")), theme.text());
    paint::text_right(buffer, Rect { width: area.width.saturating_sub(1), ..area }, area.y, &orders.into());
}

fn draw_nothing(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = state.shown(Panel::Traces) else {
        return draw_absence(state, theme, area, buffer, false, "", &[]);
    };
    let window = format::window_words(state.window);
    let traces = &state.traces;
    let (what, next) = if !shown.rows.is_empty() {
        let what = format!("none of {} traces matches `{}`", shown.rows.len(), traces.filter);
        (what, vec!["esc clears the filter · a whole trace id and enter opens that trace".to_owned()])
    } else if traces.order == Order::Errors {
        let what = format!("no errors in the last {window}");
        (what, vec!["o goes back to all traces · t looks further back".to_owned()])
    } else if traces.service.is_empty() {
        nothing_in_window(state)
    } else {
        let what = format!("{} took part in no trace in the last {window}", traces.service);
        (what, vec!["t looks further back · esc widens the search · [ and ] go to another service".to_owned()])
    };
    draw_absence(state, theme, area, buffer, true, &what, &next);
}
