//! What is drawn over a screen: the keys, and the SQL behind what one sees.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use crate::state::State;
use crate::view::{Theme, paint};

/// Columns of the window with SQL, where there are as many.
const SQL_WIDTH: u16 = 130;

const KEYS: [(&str, &str); 18] = [
    ("1 2 3 4, tab", "services, latency, dependencies, traces"),
    ("j k, arrows", "move through a list"),
    ("h l, arrows", "moment of the heatmap, along an edge, fold and unfold"),
    ("g G", "first and last"),
    ("ctrl-d ctrl-b", "ten lines down and up"),
    ("enter", "drill in: service, latency, traces, trace, details"),
    ("esc", "one step out: overlay, filter, moment, screen"),
    ("[ ]", "previous and next service"),
    ("/", "filter; a whole trace id and enter opens that trace"),
    ("o", "sort; among traces: recent, slowest, errors"),
    ("t T", "longer and shorter window of time"),
    ("s", "the SQL behind the screen, to run anywhere"),
    ("space", "pause and go on"),
    ("r", "ask again now"),
    ("?", "this help"),
    ("q, ctrl-c", "quit"),
    ("▪ ✗", "errors"),
    ("→ ⇢", "a call waits for its answer, a message does not"),
];

pub(super) fn draw_help(theme: Theme, area: Rect, buffer: &mut Buffer) {
    let inner = window(theme, area, buffer, "keys", 74, KEYS.len() as u16 + 2);
    for (index, (key, meaning)) in KEYS.iter().enumerate() {
        let line =
            Line::from(vec![Span::styled(format!(" {key:<14}"), theme.strong()), Span::styled(*meaning, theme.text())]);
        let y = inner.y + index as u16;
        if y < inner.bottom() {
            paint::line(buffer, inner.x, y, inner.width, &line);
        }
    }
}

/// Every panel of the screen, as it is asked, with a way to ask it elsewhere.
pub(super) fn draw_sql(state: &State, theme: Theme, scroll: u16, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![
        Line::styled(format!("curl -s {}/v1/sql --data-binary @panel.sql", state.query_url), theme.dim()),
        Line::styled("faultline sql \"…\"", theme.dim()),
    ];
    for question in state.questions() {
        lines.push(Line::default());
        lines.push(Line::styled(format!("── {} ", question.panel.file()), theme.accent()));
        for line in question.sql.lines() {
            let style = if line.starts_with("--") { theme.dim() } else { theme.text() };
            lines.extend(
                wrapped(line, usize::from(area.width.min(SQL_WIDTH)) - 4).map(|line| Line::styled(line, style)),
            );
        }
    }
    let height = (lines.len() as u16).saturating_add(2);
    let inner = window(theme, area, buffer, "the SQL behind this screen", SQL_WIDTH, height);
    let scroll = usize::from(scroll).min(lines.len().saturating_sub(usize::from(inner.height)));
    for (index, line) in lines.iter().skip(scroll).take(usize::from(inner.height)).enumerate() {
        paint::line(buffer, inner.x + 1, inner.y + index as u16, inner.width.saturating_sub(2), line);
    }
}

/// A line that is too long goes on below itself, a little further in.
fn wrapped(line: &str, width: usize) -> impl Iterator<Item = String> {
    let code = line.trim_start();
    let indent = line.len() - code.len();
    let parts = paint::wrap(code, width.saturating_sub(indent + 4)).into_iter().enumerate();
    parts.map(move |(index, part)| format!("{}{part}", " ".repeat(indent + if index > 0 { 4 } else { 0 })))
}

/// An empty box in the middle; its inside is returned.
fn window(theme: Theme, area: Rect, buffer: &mut Buffer, title: &str, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.accent())
        .title(Span::styled(format!(" {title} "), theme.strong()));
    let inner = block.inner(place);
    block.render(place, buffer);
    inner
}
