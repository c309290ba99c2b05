//! Latency over time: a heatmap of log-scaled durations with percentile lines on it, and the operations to choose from.
//!
//! A cell shows two durations, one above the other, by a half block. Where a percentile passes, its line takes the cell.

use std::time::Duration;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::format;
use crate::panel::Panel;
use crate::rows::Rows;
use crate::state::{AXIS_COLUMNS, State};
use crate::view::paint;
use crate::view::services::{Operations, draw_operations};
use crate::view::{Theme, draw_absence, nothing_in_window};

/// Buckets of `heatmap.sql` in one doubling of the duration.
const BUCKETS_PER_OCTAVE: f64 = 8.0;
/// The scale spans at least two decades, so that a steady service looks steady.
const BUCKETS_MIN: f64 = 53.0;
/// The percentiles from low to high, and the glyph of each line.
const LINES: [(&str, &str, &str); 3] = [("p50", "p50_ns", "─"), ("p95", "p95_ns", "━"), ("p99", "p99_ns", "┅")];

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let service = state.service();
    if service.is_empty() {
        let (what, next) = nothing_in_window(state);
        let answered = state.shown(Panel::Services).is_some();
        return draw_absence(state, theme, area, buffer, answered, &what, &next);
    }
    let (rows, names, selected) = state.operations_listed();
    let list_height = (names.len() as u16 + 2).min(area.height / 3);
    let (plot, list) = paint::split(area, area.height - list_height);
    draw_plot(state, theme, plot, buffer, &service);

    let (heading, list) = paint::split(list, 1);
    let title = vec![Span::styled("operations", theme.strong())];
    let remark = format!("{} over {}", names.len() - 1, format::window(state.window));
    paint::heading(buffer, heading, theme, title, &remark);
    let lines: Vec<_> = rows.into_iter().zip(names).collect();
    let shown = state.shown(Panel::Operations);
    let sort = Some(state.latency.sort);
    let total = state.shown(Panel::Services).and_then(|shown| {
        let row = (0..shown.rows.len()).find(|row| shown.rows.text("service", *row) == service)?;
        Some((&shown.rows, row, shown.question.window))
    });
    draw_operations(theme, list, buffer, Operations { shown, rows: &lines, selected: Some(selected), sort, total });
}

/// The heatmap of a service with its axes, its lines and the numbers of one moment.
pub(super) fn draw_plot(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer, service: &str) {
    let (heading, area) = paint::split(area, 1);
    let operation = state.operation();
    let what = if operation.is_empty() { "all operations".to_owned() } else { operation };
    let mut title =
        vec![Span::styled(service.to_owned(), theme.strong()), Span::styled(format!(" {what}"), theme.dim())];
    let columns = state.heatmap_columns_ns();
    let step = columns.as_ref().map_or(String::new(), |(_, step)| format!("a column is {}", format::window(*step)));
    if area.width < 100 {
        title.truncate(2);
    }
    paint::heading(buffer, heading, theme, title, &step);

    let (Some(heat), Some((starts, step))) = (state.shown(Panel::Heatmap), columns) else {
        return draw_absence(state, theme, area, buffer, false, "", &[]);
    };
    let Some(mut plot) = Plot::new(&heat.rows, area, starts, step) else {
        let window = format::window_words(state.window);
        let what = format!("{service} answered nothing in the last {window}");
        let next = ["t looks further back · [ and ] go to another service".to_owned()];
        return draw_absence(state, theme, area, buffer, true, &what, &next);
    };
    plot.count(&heat.rows);
    plot.draw_heat(theme, buffer);
    let percentiles = state.shown(Panel::Percentiles).map(|shown| &shown.rows);
    if let Some(percentiles) = percentiles {
        plot.draw_lines(theme, buffer, percentiles);
    }
    plot.draw_axes(theme, buffer);
    plot.draw_errors(theme, buffer);
    plot.draw_readout(theme, buffer, percentiles, state.latency.column_ns);
}

/// Where things are: cells of the terminal, steps of time, and buckets of duration.
struct Plot {
    /// The cells of the heatmap alone.
    area: Rect,
    starts_ns: Vec<i64>,
    step: Duration,
    bucket_min: f64,
    buckets_per_half: f64,
    /// Requests by column and half cell, the lowest duration first; a bucket across two half cells is shared out.
    counts: Vec<Vec<f64>>,
    errors: Vec<f64>,
}

impl Plot {
    /// None when there is nothing to draw, or no room.
    fn new(rows: &Rows, area: Rect, mut starts_ns: Vec<i64>, step: Duration) -> Option<Plot> {
        let room = Rect {
            x: area.x + AXIS_COLUMNS,
            width: area.width.saturating_sub(AXIS_COLUMNS + 2),
            height: area.height.saturating_sub(4),
            y: area.y + 1,
        };
        let (lowest, highest) = extent(rows)?;
        if room.height == 0 || room.width == 0 {
            return None;
        }
        let surplus = starts_ns.len().saturating_sub(usize::from(room.width));
        starts_ns.drain(..surplus);
        let halves = usize::from(room.height) * 2;
        let used = (highest - lowest + 1) as f64;
        let shown = used.max(BUCKETS_MIN);
        let bucket_min = (lowest as f64 - (shown - used) / 2.0).max(0.0);
        let buckets_per_half = shown / halves as f64;
        let counts = vec![vec![0.0; halves]; starts_ns.len()];
        let errors = vec![0.0; starts_ns.len()];
        Some(Plot { area: room, starts_ns, step, bucket_min, buckets_per_half, counts, errors })
    }

    fn count(&mut self, rows: &Rows) {
        for row in 0..rows.len() {
            let Some(column) = self.column(rows.time_ns("step", row)) else { continue };
            let (requests, errors) = (rows.real("requests", row), rows.real("errors", row));
            self.errors[column] += errors;
            let bucket = rows.whole("bucket", row) as f64;
            let (low, high) = (self.half(bucket), self.half(bucket + 1.0));
            for half in low as usize..high.ceil() as usize {
                let covered = high.min(half as f64 + 1.0) - low.max(half as f64);
                if let Some(count) = self.counts[column].get_mut(half).filter(|_| covered > 1e-6) {
                    *count += requests * covered / (high - low);
                }
            }
        }
    }

    fn column(&self, start_ns: i64) -> Option<usize> {
        self.starts_ns.binary_search(&start_ns).ok()
    }

    /// How many half cells from the bottom a bucket begins.
    fn half(&self, bucket: f64) -> f64 {
        (bucket - self.bucket_min).max(0.0) / self.buckets_per_half
    }

    /// The row of the terminal a duration is drawn in.
    fn y(&self, ns: f64) -> Option<u16> {
        let line = (self.half(BUCKETS_PER_OCTAVE * ns.max(1.0).log2()) / 2.0) as u16;
        (ns.is_finite() && line < self.area.height).then(|| self.area.bottom() - 1 - line)
    }

    fn draw_heat(&self, theme: Theme, buffer: &mut Buffer) {
        let most = self.counts.iter().flatten().copied().fold(0.0, f64::max);
        let level = |count: f64| count.ln_1p() / most.ln_1p();
        for (column, counts) in self.counts.iter().enumerate() {
            for (line, halves) in counts.chunks(2).enumerate() {
                let (low, high) = (halves[0], halves.get(1).copied().unwrap_or(0.0));
                if low + high == 0.0 {
                    continue;
                }
                let place = (self.area.x + column as u16, self.area.bottom() - 1 - line as u16);
                let Some(cell) = buffer.cell_mut(place) else { continue };
                if !theme.has_colour() {
                    cell.set_char(theme.shade(level(low + high).min(1.0)));
                } else if low == high {
                    cell.set_char('█').set_fg(theme.heat(level(low)));
                } else if low == 0.0 {
                    cell.set_char('▀').set_fg(theme.heat(level(high)));
                } else if high == 0.0 {
                    cell.set_char('▄').set_fg(theme.heat(level(low)));
                } else {
                    cell.set_char('▀').set_fg(theme.heat(level(high))).set_bg(theme.heat(level(low)));
                }
            }
        }
    }

    /// The line takes its cell; the heat behind it stays as the background.
    fn draw_lines(&self, theme: Theme, buffer: &mut Buffer, rows: &Rows) {
        for (_, column_name, glyph) in LINES {
            for row in 0..rows.len() {
                let column = self.column(rows.time_ns("step", row));
                let Some((column, y)) = column.zip(self.y(rows.real(column_name, row))) else { continue };
                let Some(cell) = buffer.cell_mut((self.area.x + column as u16, y)) else { continue };
                if matches!(cell.symbol(), "█" | "▀" | "▄") {
                    stamp(cell, glyph).set_style(theme.line());
                } else {
                    cell.set_symbol(glyph).set_style(theme.line());
                }
            }
        }
    }

    /// Round durations on the left, round times below.
    fn draw_axes(&self, theme: Theme, buffer: &mut Buffer) {
        let mut last_y = u16::MAX;
        for exponent in 0..13 {
            for factor in [1.0, 2.0, 5.0] {
                let ns = factor * 10_f64.powi(exponent);
                let Some(y) = self.y(ns).filter(|_| BUCKETS_PER_OCTAVE * ns.log2() >= self.bucket_min) else {
                    continue;
                };
                let is_decade = factor == 1.0;
                if y.abs_diff(last_y) < 2 && !(is_decade && y != last_y) {
                    continue;
                }
                last_y = y;
                let label = format!("{:>6} ", axis_label(ns));
                paint::text(buffer, self.area.x - AXIS_COLUMNS, y, AXIS_COLUMNS, &label, theme.dim());
                paint::text(buffer, self.area.x - 1, y, 1, "┤", theme.dim());
            }
        }
        for y in self.area.top()..self.area.bottom() {
            if let Some(cell) = buffer.cell_mut((self.area.x - 1, y)).filter(|cell| cell.symbol() == " ") {
                cell.set_symbol("│").set_style(theme.dim());
            }
        }
        let y = self.area.bottom() + 1;
        let with_date = self.step >= Duration::from_secs(600);
        let every = if with_date { 20 } else { 12 };
        let last = self.starts_ns.len().saturating_sub(1);
        for column in (0..=last).rev().step_by(every) {
            let label = format::clock(self.starts_ns[column], with_date);
            let width = label.chars().count() as u16;
            let x = self.area.x + column as u16;
            if x + 1 >= self.area.x + width {
                paint::text(buffer, x + 1 - width, y, width, &label, theme.dim());
            }
        }
    }

    /// One mark below each column that has errors.
    fn draw_errors(&self, theme: Theme, buffer: &mut Buffer) {
        let y = self.area.bottom();
        paint::text(buffer, self.area.x - AXIS_COLUMNS, y, AXIS_COLUMNS, "errors ╰", theme.dim());
        for (column, errors) in self.errors.iter().enumerate() {
            let x = self.area.x + column as u16;
            let (mark, style) = match errors {
                errors if *errors > 0.0 => ("▪", theme.bad()),
                _ => ("─", theme.dim()),
            };
            paint::text(buffer, x, y, 1, mark, style);
        }
    }

    /// The numbers of the column under the cursor, else of the newest one that is complete.
    fn draw_readout(&self, theme: Theme, buffer: &mut Buffer, rows: Option<&Rows>, cursor_ns: Option<i64>) {
        let newest = self.starts_ns.len().saturating_sub(2);
        let column = cursor_ns.and_then(|ns| self.column(ns)).unwrap_or(newest);
        let Some(start_ns) = self.starts_ns.get(column).copied() else { return };
        let y = self.area.y - 1;
        if cursor_ns.is_some() {
            for y in self.area.top()..=self.area.bottom() {
                let Some(cell) = buffer.cell_mut((self.area.x + column as u16, y)) else { continue };
                match cell.symbol() {
                    " " => _ = cell.set_symbol("┊").set_style(theme.accent()),
                    "█" | "▀" | "▄" => _ = stamp(cell, "┊").set_style(theme.line()),
                    _ => {}
                }
            }
            paint::text(buffer, self.area.x + column as u16, y, 1, "▾", theme.accent());
        }
        let row =
            rows.and_then(|rows| (0..rows.len()).find(|row| rows.time_ns("step", *row) == start_ns).zip(Some(rows)));
        let mut spans = vec![Span::styled(format!("{}Z", format::clock(start_ns, false)), theme.strong())];
        match row {
            None => spans.push(Span::styled("  no requests", theme.dim())),
            Some((row, rows)) => {
                let rate = rows.real("requests", row) / self.step.as_secs_f64();
                spans.push(Span::styled(format!("  {}/s", format::rate(rate)), theme.text()));
                for (name, column_name, glyph) in LINES {
                    spans.push(Span::styled(format!("  {glyph}{glyph} {name} "), theme.dim()));
                    spans.push(Span::styled(format::nanos(rows.real(column_name, row)), theme.text()));
                }
            }
        }
        if self.errors[column] > 0.0 {
            spans.push(Span::styled(format!("  {} errors", format::count(self.errors[column])), theme.bad()));
        }
        let width = Line::from(spans.clone()).width() as u16;
        // The cursor's own mark stays visible: the numbers stand on the other side of it.
        let cursor_x = cursor_ns.map(|_| column as u16);
        let x = match cursor_x {
            Some(cursor_x) if cursor_x <= width + 1 => self.area.right().saturating_sub(width),
            _ => self.area.x,
        };
        paint::line(buffer, x, y, width, &Line::from(spans));
    }
}

/// Puts a glyph over a cell of heat; the heat stays behind it.
fn stamp<'a>(cell: &'a mut Cell, glyph: &str) -> &'a mut Cell {
    let heat = cell.fg;
    cell.reset();
    cell.set_bg(heat).set_symbol(glyph)
}

/// Smallest and largest bucket.
fn extent(rows: &Rows) -> Option<(i64, i64)> {
    let buckets = || (0..rows.len()).map(|row| rows.whole("bucket", row));
    buckets().min().zip(buckets().max())
}

/// `1ms`, `20µs`, `5s`: round values need no digits behind the point.
fn axis_label(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0}ns"),
        ns if ns < 1e6 => format!("{:.0}µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.0}ms", ns / 1e6),
        ns => format!("{:.0}s", ns / 1e9),
    }
}
