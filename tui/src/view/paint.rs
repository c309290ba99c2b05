//! The few strokes every screen is made of: text that fits, rules, table cells, a window onto a long list.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::format::fit;
use crate::view::theme::Theme;

/// A column of a table: `width` cells, and one of space behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) width: u16,
    pub(crate) is_number: bool,
}

impl Column {
    pub(crate) const fn text(title: &'static str, width: u16) -> Column {
        Column { title, width, is_number: false }
    }

    pub(crate) const fn number(title: &'static str, width: u16) -> Column {
        Column { title, width, is_number: true }
    }
}

/// The first `height` lines of an area and the rest.
pub(crate) fn split(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let top = Rect { height, ..area };
    let rest = Rect { y: area.y + height, height: area.height - height, ..area };
    (top, rest)
}

/// The first `width` cells of an area and the rest.
pub(crate) fn split_left(area: Rect, width: u16) -> (Rect, Rect) {
    let width = width.min(area.width);
    let left = Rect { width, ..area };
    let rest = Rect { x: area.x + width, width: area.width - width, ..area };
    (left, rest)
}

/// Text at a place, cut to `width` with a mark.
pub(crate) fn text(buffer: &mut Buffer, x: u16, y: u16, width: u16, content: &str, style: Style) {
    if buffer.area.contains((x, y).into()) {
        buffer.set_stringn(x, y, fit(content, usize::from(width)), usize::from(width), style);
    }
}

pub(crate) fn line(buffer: &mut Buffer, x: u16, y: u16, width: u16, line: &Line) {
    if buffer.area.contains((x, y).into()) {
        buffer.set_line(x, y, line, width);
    }
}

pub(crate) fn text_right(buffer: &mut Buffer, area: Rect, y: u16, content: &Line) {
    let width = (content.width() as u16).min(area.width);
    line(buffer, area.right() - width, y, width, content);
}

/// A heading with a rule behind it and a remark at its right end.
pub(crate) fn heading(buffer: &mut Buffer, area: Rect, theme: Theme, title: Vec<Span>, remark: &str) {
    if area.height == 0 {
        return;
    }
    text(buffer, area.x, area.y, area.width, &"─".repeat(usize::from(area.width)), theme.dim());
    let mut title = Line::from(title);
    title.spans.insert(0, Span::raw(" "));
    title.spans.push(Span::raw(" "));
    let shown =
        Rect { x: area.x + 1, width: (title.width() as u16).min(area.width.saturating_sub(2)), height: 1, ..area };
    Clear.render(shown.intersection(buffer.area), buffer);
    line(buffer, shown.x, shown.y, shown.width, &title);
    let taken = title.width() + remark.chars().count() + 4;
    if !remark.is_empty() && taken <= usize::from(area.width) {
        let remark = Line::from(Span::styled(format!(" {remark} "), theme.dim()));
        text_right(buffer, Rect { width: area.width - 1, ..area }, area.y, &remark);
    }
}

/// Titles of columns; the sorted one is marked.
pub(crate) fn titles(buffer: &mut Buffer, area: Rect, theme: Theme, columns: &[Column], sorted: Option<&str>) {
    let cells: Vec<(String, Style)> = columns
        .iter()
        .map(|column| match sorted {
            Some(title) if title == column.title => (format!("{title}▾"), theme.strong()),
            _ => (column.title.to_owned(), theme.dim()),
        })
        .collect();
    cells_of_row(buffer, area, columns, &cells);
}

/// One row behind its marker; the selected one carries a bar and its first cell is reversed.
pub(crate) fn row(
    buffer: &mut Buffer,
    area: Rect,
    theme: Theme,
    columns: &[Column],
    cells: &[(String, Style)],
    is_selected: bool,
) {
    cells_of_row(buffer, area, columns, cells);
    if is_selected {
        select(buffer, area, theme, columns.first().map_or(0, |column| column.width));
    }
}

/// Marks a line as the selected one.
pub(crate) fn select(buffer: &mut Buffer, area: Rect, theme: Theme, width: u16) {
    text(buffer, area.x, area.y, 1, "▌", theme.accent());
    let cells = Rect { x: area.x + 2, width: width.min(area.width.saturating_sub(2)), height: 1, ..area };
    buffer.set_style(cells.intersection(buffer.area), theme.selected());
}

fn cells_of_row(buffer: &mut Buffer, area: Rect, columns: &[Column], cells: &[(String, Style)]) {
    if area.height == 0 {
        return;
    }
    let mut x = area.x + 2;
    for (column, (content, style)) in columns.iter().zip(cells) {
        let width = column.width.min(area.right().saturating_sub(x));
        let content = fit(content, usize::from(width));
        let indent = if column.is_number { usize::from(width).saturating_sub(content.chars().count()) } else { 0 };
        text(buffer, x + indent as u16, area.y, width, &content, *style);
        x += column.width + 1;
    }
}

/// The part of a list of `len` that `height` lines show, with the selection near the middle.
pub(crate) fn visible(selected: usize, len: usize, height: u16) -> Range<usize> {
    let height = usize::from(height);
    let start = selected.saturating_sub(height / 2).min(len.saturating_sub(height));
    start..(start + height).min(len)
}

/// Sentences in the middle of an area: what is the case, then what to do about it.
pub(crate) fn message(buffer: &mut Buffer, area: Rect, theme: Theme, what: &str, next_steps: &[String]) {
    let width = usize::from(area.width.saturating_sub(4)).max(1);
    let what = wrap(what, width).into_iter().map(|part| (part, theme.strong()));
    let next = next_steps.iter().flat_map(|step| wrap(step, width)).map(|part| (part, theme.dim()));
    let lines: Vec<(String, Style)> = what.chain(next).collect();
    let top = area.y + area.height.saturating_sub(lines.len() as u16) / 2;
    for (index, (content, style)) in lines.iter().enumerate() {
        let y = top + index as u16;
        let x = area.x + area.width.saturating_sub(content.chars().count() as u16) / 2;
        if y < area.bottom() {
            text(buffer, x, y, area.right().saturating_sub(x), content, *style);
        }
    }
}

/// Breaks at spaces, and inside a word only when it is wider than a line.
pub(crate) fn wrap(content: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in content.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            if let Some(line) = lines.last_mut() {
                line.extend(word);
            }
            lines.push(String::new());
            word = rest;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            used += word.len();
            line.extend(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_keeps_the_selection_in_sight() {
        assert_eq!(visible(0, 100, 10), 0..10);
        assert_eq!(visible(50, 100, 10), 45..55);
        assert_eq!(visible(99, 100, 10), 90..100);
        assert_eq!(visible(2, 3, 10), 0..3);
    }

    #[test]
    fn sentences_break_at_spaces_and_words_only_when_they_must() {
        assert_eq!(wrap("no spans in the last minute", 10), ["no spans", "in the", "last", "minute"]);
        assert_eq!(wrap("0123456789ab", 5), ["01234", "56789", "ab"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
