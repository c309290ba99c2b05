//! Draws a snapshot of the state. One file per screen; this one has what surrounds them.

mod canvas;
mod dependencies;
mod graph;
mod latency;
mod overlay;
mod paint;
mod services;
mod theme;
mod traces;
mod waterfall;

#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::format;
use crate::state::{Link, Overlay, Screen, State};

pub(crate) use theme::Theme;

/// Below this nothing useful can be said.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;

/// The whole screen.
pub(crate) fn draw(state: &State, theme: Theme, buffer: &mut Buffer) {
    let area = buffer.area;
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let what = format!("{}x{} is too small", area.width, area.height);
        paint::message(buffer, area, theme, &what, &["80x24 shows everything".to_owned()]);
        return;
    }
    let (header, rest) = paint::split(area, 1);
    let (body, foot) = paint::split(rest, rest.height - 2);
    let (status, keys) = paint::split(foot, 1);
    draw_header(state, theme, header, buffer);
    match state.screen {
        Screen::Services => services::draw(state, theme, body, buffer),
        Screen::Latency => latency::draw(state, theme, body, buffer),
        Screen::Dependencies => dependencies::draw(state, theme, body, buffer),
        Screen::Traces => traces::draw(state, theme, body, buffer),
        Screen::Waterfall => waterfall::draw(state, theme, body, buffer),
    }
    draw_status(state, theme, status, buffer);
    draw_keys(state, theme, keys, buffer);
    match state.overlay {
        Some(Overlay::Help) => overlay::draw_help(theme, body, buffer),
        Some(Overlay::Sql { scroll }) => overlay::draw_sql(state, theme, scroll, body, buffer),
        None => {}
    }
}

/// What the screens say when they have nothing to draw: still asking, no connection, or `nothing`.
fn draw_absence(
    state: &State,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
    has_answer: bool,
    nothing: &str,
    next_steps: &[String],
) {
    match state.link() {
        _ if has_answer => paint::message(buffer, area, theme, nothing, next_steps),
        Link::Lost(failure) | Link::Refused(failure) => {
            paint::message(buffer, area, theme, &failure.what, std::slice::from_ref(&failure.next_step));
        }
        Link::Connecting | Link::Live => {
            paint::message(buffer, area, theme, &format!("asking {} …", state.query_url), &[]);
        }
    }
}

/// What to try when a window is empty.
fn nothing_in_window(state: &State) -> (String, Vec<String>) {
    let window = format::window_words(state.window);
    (
        format!("no spans in the last {window}: is anything exporting to 127.0.0.1:4317?"),
        vec![
            "t looks further back · `faultline up` starts a product that exports".to_owned(),
            "any OpenTelemetry SDK does: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317".to_owned(),
        ],
    )
}

fn draw_header(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::styled(" faultline ", theme.accent().patch(theme.strong()))];
    for (index, tab) in Screen::TABS.iter().enumerate() {
        let is_here = *tab == state.screen || (*tab == Screen::Traces && state.screen == Screen::Waterfall);
        let style = if is_here { theme.selected() } else { theme.dim() };
        spans.push(Span::styled(format!(" {} {} ", index + 1, tab_name(*tab, area.width < 100)), style));
    }
    paint::line(buffer, area.x, area.y, area.width, &Line::from(spans));
    let (mark, style) = match state.link() {
        Link::Lost(_) => ("○ no answer", theme.bad()),
        _ if state.paused => ("‖ paused", theme.warn()),
        Link::Refused(_) => ("● error", theme.bad()),
        Link::Connecting => ("○ asking", theme.dim()),
        Link::Live => ("● live", theme.good()),
    };
    let refreshed = state.refreshed_ns().map_or("--:--:--".to_owned(), |ns| format::clock(ns, false));
    let right = Line::from(vec![
        Span::styled(format!("{} ", format::window(state.window)), theme.strong()),
        Span::styled(format!("{refreshed}Z "), theme.dim()),
        Span::styled(format!("{mark} "), style),
    ]);
    paint::text_right(buffer, area, area.y, &right);
}

/// The filter while there is one; else what is wrong and what to do about it.
fn draw_status(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if state.typing || !state.filter().is_empty() {
        let cursor = if state.typing { "▏" } else { "" };
        let line = Line::from(vec![
            Span::styled(" / ", theme.accent()),
            Span::styled(format!("{}{cursor}", state.filter()), theme.strong()),
            Span::styled(if state.typing { "  enter keeps it · esc ends" } else { "  esc clears it" }, theme.dim()),
        ]);
        return paint::line(buffer, area.x, area.y, area.width, &line);
    }
    if let Link::Lost(failure) | Link::Refused(failure) = state.link() {
        let what = failure.what.replace(['\n', '\r'], " ");
        // Both in full when they fit; else what is wrong keeps the larger part.
        let width = usize::from(area.width).saturating_sub(4);
        let room = width.saturating_sub(failure.next_step.chars().count()).max(width * 6 / 10);
        let what = format::fit(&what, room);
        let next_step = format::fit(&failure.next_step, width - what.chars().count());
        let line = Line::from(vec![
            Span::styled(format!(" {what}"), theme.bad()),
            Span::styled(format!(": {next_step}"), theme.text()),
        ]);
        paint::line(buffer, area.x, area.y, area.width, &line);
    }
}

fn draw_keys(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let keys: &[(&str, &str)] = match (state.overlay, state.screen) {
        (Some(Overlay::Sql { .. }), _) => &[("jk", "scroll"), ("s", "close"), ("q", "quit")],
        (Some(Overlay::Help), _) => &[("?", "close"), ("q", "quit")],
        (None, Screen::Services) => {
            &[("jk", "move"), ("enter", "latency"), ("/", "filter"), ("o", "sort"), ("t", "window")]
        }
        (None, Screen::Latency) => {
            &[("jk", "operation"), ("hl", "moment"), ("enter", "traces"), ("[]", "service"), ("t", "window")]
        }
        (None, Screen::Dependencies) => {
            &[("jk", "move"), ("hl", "follow"), ("enter", "latency"), ("/", "filter"), ("o", "sort"), ("t", "window")]
        }
        (None, Screen::Traces) => {
            &[("jk", "move"), ("enter", "open"), ("o", "order"), ("[]", "service"), ("/", "filter"), ("t", "window")]
        }
        (None, Screen::Waterfall) if state.waterfall.in_details => &[("jk", "scroll"), ("enter", "back to spans")],
        (None, Screen::Waterfall) => {
            &[("jk", "move"), ("hl", "fold"), ("enter", "details"), ("/", "filter"), ("esc", "back")]
        }
    };
    let common: &[(&str, &str)] =
        if state.overlay.is_some() { &[] } else { &[("s", "SQL"), ("?", "help"), ("q", "quit")] };
    let width = |keys: &[(&str, &str)]| -> usize {
        keys.iter().map(|(key, meaning)| key.chars().count() + meaning.chars().count() + 3).sum()
    };
    // What works everywhere is always said; of the rest as much as fits, and `?` has it all.
    let room = usize::from(area.width).saturating_sub(1);
    let fitting = (0..=keys.len()).rev().find(|count| width(&keys[..*count]) + width(common) <= room).unwrap_or(0);
    let mut spans = vec![Span::raw(" ")];
    for (key, meaning) in keys[..fitting].iter().chain(common) {
        spans.push(Span::styled(*key, theme.strong()));
        spans.push(Span::styled(format!(" {meaning}  "), theme.dim()));
    }
    paint::line(buffer, area.x, area.y, area.width, &Line::from(spans));
}

fn tab_name(screen: Screen, is_narrow: bool) -> &'static str {
    match screen {
        Screen::Services => "services",
        Screen::Latency => "latency",
        Screen::Dependencies if is_narrow => "edges",
        Screen::Dependencies => "dependencies",
        Screen::Traces | Screen::Waterfall => "traces",
    }
}
