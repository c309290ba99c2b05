//! Lines of box-drawing characters that know how to meet: strokes are collected first and become glyphs at the end.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::style::Style;

use crate::view::paint;

const NORTH: u8 = 1;
const EAST: u8 = 2;
const SOUTH: u8 = 4;
const WEST: u8 = 8;

/// How a line looks; of lines that share a cell the higher rank is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pen {
    pub(super) style: Style,
    pub(super) is_dashed: bool,
    pub(super) rank: u8,
}

#[derive(Default)]
pub(super) struct Canvas {
    cells: BTreeMap<(u16, u16), (u8, Pen)>,
}

impl Canvas {
    /// Between two cells of one row, both included; the ends stay open towards each other only.
    pub(super) fn horizontal(&mut self, y: u16, x: u16, to_x: u16, pen: Pen) {
        let (left, right) = (x.min(to_x), x.max(to_x));
        for cell in left..=right {
            let west = if cell > left { WEST } else { 0 };
            let east = if cell < right { EAST } else { 0 };
            self.add(cell, y, west | east, pen);
        }
    }

    pub(super) fn vertical(&mut self, x: u16, y: u16, to_y: u16, pen: Pen) {
        let (top, bottom) = (y.min(to_y), y.max(to_y));
        for cell in top..=bottom {
            let north = if cell > top { NORTH } else { 0 };
            let south = if cell < bottom { SOUTH } else { 0 };
            self.add(x, cell, north | south, pen);
        }
    }

    /// Lets the line in a cell run out to its left or right neighbour, which is a box.
    pub(super) fn open_west(&mut self, x: u16, y: u16, pen: Pen) {
        self.add(x, y, WEST, pen);
    }

    pub(super) fn open_east(&mut self, x: u16, y: u16, pen: Pen) {
        self.add(x, y, EAST, pen);
    }

    pub(super) fn draw(&self, buffer: &mut Buffer) {
        for ((x, y), (strokes, pen)) in &self.cells {
            paint::text(buffer, *x, *y, 1, glyph(*strokes, pen.is_dashed), pen.style);
        }
    }

    fn add(&mut self, x: u16, y: u16, strokes: u8, pen: Pen) {
        if strokes == 0 {
            return;
        }
        let cell = self.cells.entry((x, y)).or_insert((0, pen));
        cell.0 |= strokes;
        if pen.rank > cell.1.rank {
            cell.1 = pen;
        }
    }
}

fn glyph(strokes: u8, is_dashed: bool) -> &'static str {
    const HORIZONTAL: u8 = EAST | WEST;
    const VERTICAL: u8 = NORTH | SOUTH;
    match strokes {
        HORIZONTAL | EAST | WEST => {
            if is_dashed {
                "╌"
            } else {
                "─"
            }
        }
        VERTICAL | NORTH | SOUTH => {
            if is_dashed {
                "╎"
            } else {
                "│"
            }
        }
        s if s == EAST | SOUTH => "╭",
        s if s == WEST | SOUTH => "╮",
        s if s == EAST | NORTH => "╰",
        s if s == WEST | NORTH => "╯",
        s if s == VERTICAL | EAST => "├",
        s if s == VERTICAL | WEST => "┤",
        s if s == HORIZONTAL | SOUTH => "┬",
        s if s == HORIZONTAL | NORTH => "┴",
        _ => "┼",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn strokes_join_where_they_meet() {
        let mut canvas = Canvas::default();
        let pen = Pen::default();
        canvas.horizontal(0, 0, 4, pen);
        canvas.vertical(4, 0, 4, pen);
        canvas.horizontal(2, 4, 8, pen);
        canvas.horizontal(4, 4, 8, Pen { is_dashed: true, ..pen });
        let mut buffer = Buffer::empty(Rect::new(0, 0, 9, 5));
        canvas.draw(&mut buffer);
        let lines: Vec<String> =
            (0..5).map(|y| (0..9).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()).collect();
        expect![[r#"
            ────╮
                │
                ├────
                │
                ╰╌╌╌╌"#]]
        .assert_eq(&lines.join("\n"));
    }
}
