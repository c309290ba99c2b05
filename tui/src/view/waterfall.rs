//! One trace: its spans as an indented tree with bars over time, and everything known about the selected one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::format;
use crate::panel::Panel;
use crate::rows::Rows;
use crate::state::{Node, State};
use crate::view::paint;
use crate::view::{Theme, draw_absence};

/// From this width on the details stand at the right, else below.
const SIDE_BY_SIDE_WIDTH: u16 = 140;
/// Below a short tree the logs of the whole trace are shown when this many lines are left.
const LOGS_HEIGHT_MIN: u16 = 5;
/// Cells of a duration behind its bar.
const TOOK: u16 = 8;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let (visible, _, selected) = state.spans_listed();
    let (heading, area) = paint::split(area, 1);
    let Some(shown) = state.shown(Panel::Trace).filter(|_| !visible.is_empty()) else {
        return draw_nothing(state, theme, area, buffer);
    };
    draw_heading(state, theme, heading, buffer, &shown.rows);
    let node = &state.waterfall.tree.nodes[visible[selected]];
    let in_details = state.waterfall.in_details;
    let (spans, details) = if area.width >= SIDE_BY_SIDE_WIDTH {
        let (spans, details) = paint::split_left(area, area.width * 2 / 3);
        (spans, Rect { x: details.x + 1, width: details.width - 1, ..details })
    } else if in_details {
        paint::split(area, 4)
    } else {
        let wanted = visible.len() as u16 + 1;
        paint::split(area, wanted.clamp(area.height / 3, area.height * 3 / 5))
    };
    let tree_height = visible.len() as u16 + 2;
    let (spans, spare) = if area.width >= SIDE_BY_SIDE_WIDTH && spans.height >= tree_height + LOGS_HEIGHT_MIN {
        paint::split(spans, tree_height)
    } else {
        (spans, Rect::ZERO)
    };
    draw_spans(state, theme, spans, buffer, &shown.rows, (&visible, selected));
    draw_logs(state, theme, spare, buffer);
    draw_details(state, theme, details, buffer, &shown.rows, node);
}

fn draw_nothing(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let id = &state.waterfall.trace_id;
    let Some(shown) = state.shown(Panel::Trace) else {
        return draw_absence(state, theme, area, buffer, false, "", &[]);
    };
    let (what, next) = if shown.rows.is_empty() {
        (format!("no span of trace {id} is stored"), "esc goes back")
    } else {
        (format!("none of {} spans matches `{}`", shown.rows.len(), state.waterfall.filter), "esc clears the filter")
    };
    draw_absence(state, theme, area, buffer, true, &what, &[next.to_owned()]);
}

fn draw_heading(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer, rows: &Rows) {
    let tree = &state.waterfall.tree;
    let Some(root) = tree.nodes.first() else { return };
    let mut title = vec![
        Span::styled(format::nanos(tree.duration_ns), theme.strong()),
        Span::styled(format!("  {}", counted(rows.len(), "span")), theme.dim()),
    ];
    if tree.errors > 0 {
        title.push(Span::styled(format!("  {}", counted(tree.errors, "error")), theme.bad()));
    }
    title.push(Span::raw(" "));
    let mut room = usize::from(area.width.saturating_sub(36));
    for (index, service) in tree.services.iter().enumerate() {
        let Some(left) = room.checked_sub(service.chars().count() + 3) else {
            title.push(Span::styled(format!(" +{}", tree.services.len() - index), theme.dim()));
            break;
        };
        room = left;
        title.push(Span::styled(" ■ ", theme.service(index)));
        title.push(Span::styled(service.clone(), theme.text()));
    }
    let started = format::instant(rows.time_ns("time", root.row));
    let id = &state.waterfall.trace_id;
    paint::heading(buffer, area, theme, title, &format!("{id}  {started}Z"));
}

/// `1 span`, `2 spans`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The tree on the left, the bars on the right.
fn draw_spans(
    state: &State,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
    rows: &Rows,
    (visible, selected): (&[usize], usize),
) {
    let tree = &state.waterfall.tree;
    let names = (area.width * 9 / 20).min(70);
    let bars = Rect { x: area.x + names, width: area.width.saturating_sub(names + TOOK + 1), ..area };
    let (scale, list) = paint::split(area, 1);
    draw_scale(theme, Rect { y: scale.y, height: 1, ..bars }, buffer, tree.duration_ns);
    for (line, index) in paint::visible(selected, visible.len(), list.height).enumerate() {
        let node = &tree.nodes[visible[index]];
        let y = list.y + line as u16;
        let colour = theme.service(tree.service_index(rows.text("service", node.row)));
        let is_folded = state.waterfall.folded.contains(rows.text("span_id", node.row)) && state.filter().is_empty();
        let name = name_line(theme, rows, node, colour, is_folded);
        paint::line(buffer, area.x + 2, y, names.saturating_sub(3), &name);
        if name.width() > usize::from(names.saturating_sub(3)) {
            paint::text(buffer, area.x + names - 2, y, 1, "…", theme.dim());
        }
        let offset_ns = rows.time_ns("time", node.row).saturating_sub(tree.start_ns) as f64;
        let duration_ns = rows.real("duration_ns", node.row);
        let share = |ns: f64| ns / tree.duration_ns.max(1.0);
        draw_bar(Rect { y, height: 1, ..bars }, buffer, share(offset_ns), share(duration_ns), colour);
        let is_error = rows.text("status", node.row) == "Error";
        let took =
            Line::from(Span::styled(format::nanos(duration_ns), if is_error { theme.bad() } else { theme.dim() }));
        paint::text_right(buffer, area, y, &took);
        if index == selected {
            let place = Rect { y, height: 1, ..area };
            let width = (name.width() as u16).min(names.saturating_sub(3));
            paint::select(buffer, place, theme, width);
        }
    }
}

/// Fold mark, message mark, name; the service where it changes is told by the square.
fn name_line<'a>(theme: Theme, rows: &'a Rows, node: &Node, colour: Style, is_folded: bool) -> Line<'a> {
    let fold = match (node.descendants, is_folded) {
        (0, _) => "  ",
        (_, true) => "▸ ",
        (_, false) => "▾ ",
    };
    let mut spans = vec![Span::raw("  ".repeat(node.depth.min(12))), Span::styled(fold, theme.dim())];
    if node.is_linked {
        spans.push(Span::styled("⇢ ", theme.message()));
    }
    if rows.text("status", node.row) == "Error" {
        spans.push(Span::styled("✗ ", theme.bad()));
    }
    spans.push(Span::styled(rows.text("service", node.row), colour));
    spans.push(Span::styled(format!(" {}", rows.text("name", node.row)), theme.text()));
    if is_folded {
        spans.push(Span::styled(format!(" +{}", node.descendants), theme.dim()));
    }
    Line::from(spans)
}

/// Time since the start of the trace at every quarter.
fn draw_scale(theme: Theme, area: Rect, buffer: &mut Buffer, duration_ns: f64) {
    let parts = if area.width >= 60 { 4 } else { 2 };
    for part in 0..parts {
        let x = area.x + area.width * part / parts;
        let label =
            if part == 0 { "0".to_owned() } else { format::nanos(duration_ns * f64::from(part) / f64::from(parts)) };
        paint::text(buffer, x, area.y, 9, &format!("╷{label}"), theme.dim());
    }
}

/// A bar in half cells, never thinner than one of them.
fn draw_bar(area: Rect, buffer: &mut Buffer, offset: f64, length: f64, style: Style) {
    let halves = f64::from(area.width) * 2.0;
    let first = ((offset * halves) as usize).min((halves as usize).saturating_sub(1));
    let last = (((offset + length) * halves).ceil() as usize).clamp(first + 1, halves.max(1.0) as usize);
    for cell in first / 2..last.div_ceil(2) {
        let (left, right) = (cell * 2 >= first, cell * 2 + 1 < last);
        let glyph = match (left, right) {
            (true, true) => "█",
            (true, false) => "▌",
            (false, _) => "▐",
        };
        paint::text(buffer, area.x + cell as u16, area.y, 1, glyph, style);
    }
}

/// What was logged anywhere in the trace, in order.
fn draw_logs(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(shown) = state.shown(Panel::TraceLogs).filter(|shown| area.height > 0 && !shown.rows.is_empty()) else {
        return;
    };
    let (heading, list) = paint::split(area, 1);
    let title = vec![Span::styled("logs of the trace", theme.strong())];
    paint::heading(buffer, heading, theme, title, &counted(shown.rows.len(), "record"));
    let tree = &state.waterfall.tree;
    for row in 0..shown.rows.len().min(usize::from(list.height)) {
        let rows = &shown.rows;
        let at = rows.time_ns("time", row).saturating_sub(tree.start_ns) as f64;
        let service = rows.text("service", row);
        let severity = severity_style(theme, rows.whole("severity", row));
        let line = Line::from(vec![
            Span::styled(format!("{:>9} ", format!("+{}", format::nanos(at))), theme.dim()),
            Span::styled(format!("{:<5} ", format::fit(rows.text("severity_text", row), 5)), severity),
            Span::styled(format!("{service} "), theme.service(tree.service_index(service))),
            Span::styled(rows.text("body", row).replace(['\n', '\r', '\t'], " "), theme.text()),
        ]);
        paint::line(buffer, list.x, list.y + row as u16, list.width.saturating_sub(1), &line);
    }
}

fn draw_details(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer, rows: &Rows, node: &Node) {
    if area.height < 2 {
        return;
    }
    let (heading, body) = paint::split(area, 1);
    let lines = details(state, theme, rows, node, usize::from(body.width.saturating_sub(2)));
    let height = usize::from(body.height);
    let scroll = usize::from(state.waterfall.details_scroll).min(lines.len().saturating_sub(height));
    let hidden = lines.len().saturating_sub(scroll + height);
    let remark = match (hidden, state.waterfall.in_details) {
        (0, _) => String::new(),
        (hidden, true) => format!("{hidden} more lines"),
        (hidden, false) => format!("{hidden} more lines: enter"),
    };
    let colour = theme.service(state.waterfall.tree.service_index(rows.text("service", node.row)));
    let title = vec![Span::styled("■ ", colour), Span::styled(rows.text("name", node.row).to_owned(), theme.strong())];
    paint::heading(buffer, heading, theme, title, &remark);
    if state.waterfall.in_details {
        paint::text(buffer, heading.x, heading.y, 1, "▌", theme.accent());
    }
    for (index, line) in lines.iter().skip(scroll).take(height).enumerate() {
        paint::line(buffer, body.x + 1, body.y + index as u16, body.width.saturating_sub(1), line);
    }
}

/// Everything known about a span, most telling first.
fn details<'a>(state: &State, theme: Theme, rows: &'a Rows, node: &Node, width: usize) -> Vec<Line<'a>> {
    let row = node.row;
    let tree = &state.waterfall.tree;
    let offset_ns = rows.time_ns("time", row).saturating_sub(tree.start_ns) as f64;
    let mut lines = vec![Line::from(vec![
        Span::styled(rows.text("service", row), theme.strong()),
        Span::styled(format!(" {}", rows.text("kind", row).to_lowercase()), theme.dim()),
        Span::styled(format!("  {}", format::nanos(rows.real("duration_ns", row))), theme.strong()),
        Span::styled(format!(" at +{}", format::nanos(offset_ns)), theme.dim()),
        Span::styled(format!("  span {}", rows.text("span_id", row)), theme.dim()),
    ])];
    if rows.text("status", row) == "Error" {
        let message = rows.text("status_message", row);
        let message = if message.is_empty() { "failed, without a message" } else { message };
        wrapped(&mut lines, "✗ ", message, theme.bad(), width);
    }
    let events = rows.events("events", row);
    if !events.is_empty() {
        title(&mut lines, theme, "events");
    }
    for event in events {
        let at = event.time_ns.saturating_sub(tree.start_ns) as f64;
        lines.push(Line::from(vec![
            Span::styled(format!("{:>8} ", format!("+{}", format::nanos(at))), theme.dim()),
            Span::styled(event.name, theme.warn()),
        ]));
        pairs(&mut lines, theme, &event.attributes, width);
    }
    logs(&mut lines, state, theme, rows.text("span_id", row), width);
    title(&mut lines, theme, "attributes");
    pairs(&mut lines, theme, &rows.pairs("attributes", row), width);
    let links = rows.links("links", row);
    if !links.is_empty() {
        title(&mut lines, theme, "links");
    }
    for link in links {
        lines.push(Line::styled(format!("  ⇢ {} {}", link.trace_id, link.span_id), theme.text()));
    }
    title(&mut lines, theme, "resource");
    pairs(&mut lines, theme, &rows.pairs("resource", row), width);
    lines
}

fn logs(lines: &mut Vec<Line>, state: &State, theme: Theme, span_id: &str, width: usize) {
    let Some(shown) = state.shown(Panel::TraceLogs) else { return };
    let logs = &shown.rows;
    let of_span: Vec<usize> = (0..logs.len()).filter(|row| logs.text("span_id", *row) == span_id).collect();
    if !of_span.is_empty() {
        title(lines, theme, "logs");
    }
    for row in of_span {
        let at = logs.time_ns("time", row).saturating_sub(state.waterfall.tree.start_ns) as f64;
        let style = severity_style(theme, logs.whole("severity", row));
        let severity = logs.text("severity_text", row);
        let head = format!("{:>8} {:<5} ", format!("+{}", format::nanos(at)), format::fit(severity, 5));
        wrapped(lines, &head, logs.text("body", row), style, width);
        pairs(lines, theme, &logs.pairs("attributes", row), width);
    }
}

fn severity_style(theme: Theme, severity: i64) -> Style {
    match severity {
        17.. => theme.bad(),
        13.. => theme.warn(),
        _ => theme.text(),
    }
}

fn title(lines: &mut Vec<Line>, theme: Theme, title: &'static str) {
    lines.push(Line::styled(title, theme.accent()));
}

fn pairs(lines: &mut Vec<Line>, theme: Theme, pairs: &[(String, String)], width: usize) {
    let key_width = pairs.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).min(width / 2);
    for (key, value) in pairs {
        let key = format!("  {:<key_width$} ", format::fit(key, key_width));
        let room = width.saturating_sub(key.chars().count()).max(8);
        for (index, part) in paint::wrap(&value.replace(['\n', '\r', '\t'], " "), room).into_iter().enumerate() {
            let key = if index == 0 { key.clone() } else { " ".repeat(key.chars().count()) };
            lines.push(Line::from(vec![Span::styled(key, theme.dim()), Span::styled(part, theme.text())]));
        }
    }
}

/// A text behind its head, continued under itself.
fn wrapped(lines: &mut Vec<Line>, head: &str, content: &str, style: Style, width: usize) {
    let indent = head.chars().count();
    let content = content.replace(['\n', '\r', '\t'], " ");
    for (index, part) in paint::wrap(&content, width.saturating_sub(indent).max(8)).into_iter().enumerate() {
        let head = if index == 0 { head.to_owned() } else { " ".repeat(indent) };
        lines.push(Line::from(vec![Span::styled(head, style), Span::styled(part, style)]));
    }
}
