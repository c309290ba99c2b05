//! Dependencies: a layered drawing where there is room, and always the list of edges.
//!
//! A topic is a box of its own between who sends and who takes, so that one sender with many takers is one line.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::{Block, BorderType, Widget};

use crate::format;
use crate::panel::Panel;
use crate::state::{Edge, EdgeSort, State};
use crate::view::canvas::{Canvas, Pen};
use crate::view::graph::{Arrow, Layout, Vertex, layout};
use crate::view::paint::{self, Column};
use crate::view::{Theme, draw_absence, nothing_in_window};

/// From this size on there is room for a drawing above the list.
const DRAWING_WIDTH: u16 = 110;
const DRAWING_HEIGHT: u16 = 30;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let (edges, selected) = state.edges_listed();
    if edges.is_empty() {
        return draw_nothing(state, theme, area, buffer);
    }
    let mut list = area;
    if area.width >= DRAWING_WIDTH && area.height >= DRAWING_HEIGHT {
        let list_height = (edges.len() as u16 + 2).min(area.height / 3);
        let (top, below) = paint::split(area, area.height - list_height);
        let (heading, top) = paint::split(top, 1);
        if draw_graph(theme, top, buffer, &edges, selected) {
            let title = vec![Span::styled("dependencies", theme.strong())];
            paint::heading(buffer, heading, theme, title, "─ call  ╌ message · below a name: what reaches it");
            list = below;
        }
    }
    draw_list(state, theme, list, buffer, &edges, selected);
}

fn draw_nothing(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let answered = state.shown(Panel::Dependencies);
    if answered.is_some_and(|shown| !shown.rows.is_empty()) {
        let what = format!("no edge touches `{}`", state.dependencies.filter);
        return draw_absence(state, theme, area, buffer, true, &what, &["esc clears the filter".to_owned()]);
    }
    let window = format::window_words(state.window);
    let what = format!("no calls or messages between services in the last {window}");
    let (_, next) = nothing_in_window(state);
    let why = "an edge needs both sides: a Client and a Server span, or a Producer and a Consumer span".to_owned();
    let next = [vec![why], next].concat();
    draw_absence(state, theme, area, buffer, answered.is_some(), &what, &next);
}

fn draw_list(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer, edges: &[Edge], selected: usize) {
    let (heading, area) = paint::split(area, 1);
    let remark = format!("→ call  ⇢ message · {} edges over {}", edges.len(), format::window(state.window));
    paint::heading(buffer, heading, theme, vec![Span::styled("edges", theme.strong())], &remark);
    let wide = area.width >= 110;
    let (name, via) = if wide { ((area.width - 60) * 2 / 7, (area.width - 60) * 2 / 7) } else { (14, 12) };
    let target = if wide { name } else { area.width.saturating_sub(63) };
    let mut columns = vec![
        Column::text("from", name),
        Column::text("by", via),
        Column::text("to", target),
        Column::number("rate/s", 7),
        Column::number("errors", 7),
        Column::number("p95", 7),
        Column::number("lag p95", 7),
    ];
    if wide {
        columns.push(Column::number("waiting", 8));
    }
    let sorted = match state.dependencies.sort {
        EdgeSort::Name => "from",
        EdgeSort::Rate => "rate/s",
        EdgeSort::Errors => "errors",
        EdgeSort::P95 => "p95",
    };
    let (titles, list) = paint::split(area, 1);
    paint::titles(buffer, titles, theme, &columns, Some(sorted));
    for (line, index) in paint::visible(selected, edges.len(), list.height).enumerate() {
        let edge = &edges[index];
        let via = match (edge.is_message, edge.is_external) {
            (true, _) => (format!("⇢ {}", edge.topic), theme.message()),
            (false, true) => ("→ outside".to_owned(), theme.dim()),
            (false, false) => ("→ call".to_owned(), theme.dim()),
        };
        let cells = [
            (edge.source.clone(), theme.strong()),
            via,
            (edge.target.clone(), theme.text()),
            (format::rate(edge.per_second), theme.text()),
            (format::share(edge.errors, edge.requests), theme.errors(edge.errors, edge.requests)),
            (format::nanos(edge.p95_ns), theme.text()),
            (if edge.is_message { format::nanos(edge.lag_p95_ns) } else { String::new() }, theme.text()),
            (if edge.is_message { format::count(edge.waiting) } else { String::new() }, theme.text()),
        ];
        let place = Rect { y: list.y + line as u16, height: 1, ..list };
        paint::row(buffer, place, theme, &columns, &cells, index == selected);
    }
}

/// A service, a topic or somebody outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Service(String),
    Topic(String),
}

/// What a box says below its name, summed over the edges that lead to it.
#[derive(Clone, Debug, Default)]
struct Traffic {
    per_second: f64,
    requests: f64,
    errors: f64,
    p95_ns: f64,
    waiting: f64,
    is_external: bool,
}

/// False when it does not fit.
fn draw_graph(theme: Theme, area: Rect, buffer: &mut Buffer, edges: &[Edge], selected: usize) -> bool {
    let (boxes, arrows) = vertices(edges);
    let (who, traffic): (Vec<&Who>, Vec<&Traffic>) = boxes.iter().unzip();
    let sizes: Vec<Vertex> = who
        .iter()
        .zip(&traffic)
        .map(|(who, traffic)| {
            let (name, numbers) = texts(who, traffic);
            let width = name.chars().count().max(numbers.chars().count()) as u16 + 4;
            Vertex { width, height: 4 }
        })
        .collect();
    let plain: Vec<Arrow> = arrows.keys().copied().collect();
    let Some(layout) = layout(&sizes, &plain, area.width.saturating_sub(4), area.height.saturating_sub(2)) else {
        return false;
    };
    let origin = Rect {
        x: area.x + (area.width - layout.width) / 2,
        y: area.y + (area.height - layout.height) / 2,
        width: layout.width,
        height: layout.height,
    };
    draw_arrows(theme, origin, buffer, &layout, &arrows, edges, selected);
    let edge = &edges[selected];
    for (index, place) in layout.places.iter().enumerate() {
        let is_selected = match who[index] {
            Who::Service(name) => *name == edge.source || *name == edge.target,
            Who::Topic(name) => edge.is_message && *name == edge.topic,
        };
        let cell = Rect {
            x: origin.x + place.x,
            y: origin.y + place.y,
            width: sizes[index].width,
            height: sizes[index].height,
        };
        draw_box(theme, cell, buffer, who[index], traffic[index], is_selected);
    }
    true
}

/// Boxes with their traffic, and arrows with the edges that run along them.
fn vertices(edges: &[Edge]) -> (BTreeMap<Who, Traffic>, BTreeMap<Arrow, Vec<usize>>) {
    let hop = |edge: &Edge| (edge.is_message && !edge.topic.is_empty()).then(|| Who::Topic(edge.topic.clone()));
    let mut boxes: BTreeMap<Who, Traffic> = BTreeMap::new();
    for edge in edges {
        boxes.entry(Who::Service(edge.source.clone())).or_default();
        let reached = [Some(Who::Service(edge.target.clone())), hop(edge)];
        for who in reached.into_iter().flatten() {
            let traffic = boxes.entry(who).or_default();
            traffic.per_second += edge.per_second;
            traffic.requests += edge.requests;
            traffic.errors += edge.errors;
            traffic.p95_ns = traffic.p95_ns.max(edge.p95_ns);
            traffic.waiting += if edge.waiting.is_nan() { 0.0 } else { edge.waiting };
            traffic.is_external |= edge.is_external;
        }
    }
    let place = |who: &Who| boxes.keys().position(|it| it == who).unwrap_or(0);
    let mut arrows: BTreeMap<Arrow, Vec<usize>> = BTreeMap::new();
    for (index, edge) in edges.iter().enumerate() {
        let (source, target) = (place(&Who::Service(edge.source.clone())), place(&Who::Service(edge.target.clone())));
        let ends = match hop(edge) {
            Some(topic) => vec![(source, place(&topic)), (place(&topic), target)],
            None => vec![(source, target)],
        };
        for (from, to) in ends {
            arrows.entry(Arrow { from, to }).or_default().push(index);
        }
    }
    (boxes, arrows)
}

fn draw_arrows(
    theme: Theme,
    origin: Rect,
    buffer: &mut Buffer,
    layout: &Layout,
    arrows: &BTreeMap<Arrow, Vec<usize>>,
    edges: &[Edge],
    selected: usize,
) {
    let mut canvas = Canvas::default();
    let mut heads: Vec<(u16, u16, &str, Pen)> = Vec::new();
    for way in &layout.ways {
        let along = arrows.get(&way.arrow).map(Vec::as_slice).unwrap_or_default();
        let pen = pen(theme, along, edges, selected);
        for stretch in &way.stretches {
            let (x, y) = (origin.x + stretch.x, origin.y + stretch.y);
            let (to_x, to_y) = (origin.x + stretch.to_x, origin.y + stretch.to_y);
            let turn_x = origin.x + stretch.turn_x;
            canvas.open_west(x, y, pen);
            canvas.horizontal(y, x, turn_x, pen);
            canvas.vertical(turn_x, y, to_y, pen);
            canvas.horizontal(to_y, turn_x, to_x, pen);
            canvas.open_east(to_x, to_y, pen);
        }
        let ends = way.stretches.first().zip(way.stretches.last());
        if let Some((first, last)) = ends {
            let (x, y, glyph) = if way.is_turned { (first.x, first.y, "◂") } else { (last.to_x, last.to_y, "▸") };
            heads.push((origin.x + x, origin.y + y, glyph, pen));
        }
    }
    canvas.draw(buffer);
    heads.sort_by_key(|(_, _, _, pen)| pen.rank);
    for (x, y, glyph, pen) in heads {
        paint::text(buffer, x, y, 1, glyph, pen.style);
    }
}

/// The selected edge above all, then those that fail, then the rest.
fn pen(theme: Theme, along: &[usize], edges: &[Edge], selected: usize) -> Pen {
    let is_dashed = along.iter().any(|index| edges[*index].is_message);
    let errors: f64 = along.iter().map(|index| edges[*index].errors).sum();
    let requests: f64 = along.iter().map(|index| edges[*index].requests).sum();
    let (style, rank) = match along.contains(&selected) {
        true => (theme.accent().patch(theme.strong()), 2),
        false if errors > 0.0 => (theme.errors(errors, requests), 1),
        false => (theme.dim(), 0),
    };
    Pen { style, is_dashed, rank }
}

fn draw_box(theme: Theme, area: Rect, buffer: &mut Buffer, who: &Who, traffic: &Traffic, is_selected: bool) {
    let border = if is_selected { theme.accent().patch(theme.strong()) } else { theme.dim() };
    let kind = match who {
        Who::Topic(_) => BorderType::Rounded,
        Who::Service(_) if traffic.is_external => BorderType::LightDoubleDashed,
        Who::Service(_) => BorderType::Plain,
    };
    Block::bordered().border_type(kind).border_style(border).render(area, buffer);
    let (name, numbers) = texts(who, traffic);
    let name_style: Style = match who {
        Who::Topic(_) => theme.message(),
        Who::Service(_) => theme.strong(),
    };
    let numbers_style = if traffic.errors > 0.0 && matches!(who, Who::Service(_)) {
        theme.errors(traffic.errors, traffic.requests)
    } else {
        theme.dim()
    };
    paint::text(buffer, area.x + 2, area.y + 1, area.width - 4, &name, name_style);
    paint::text(buffer, area.x + 2, area.y + 2, area.width - 4, &numbers, numbers_style);
}

/// The name, and the numbers below it.
fn texts(who: &Who, traffic: &Traffic) -> (String, String) {
    let rate = format!("{}/s", format::rate(traffic.per_second));
    match who {
        Who::Topic(name) => (format!("⇢ {name}"), format!("{rate}  {} waiting", format::count(traffic.waiting))),
        Who::Service(name) if traffic.requests == 0.0 => (name.clone(), "calls".to_owned()),
        Who::Service(name) => {
            let errors = format::share(traffic.errors, traffic.requests);
            (name.clone(), format!("{rate}  {errors}  {}", format::nanos(traffic.p95_ns)))
        }
    }
}
