//! One trace: its tree of spans, what is folded away, and the selected span's details.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::input::{Action, Step};
use crate::panel::{Panel, Question, Value};
use crate::state::cursor::Cursor;
use crate::state::{State, Tree, matches};

/// A trace whose last span ended this recently may still grow, and is asked again.
const YOUNG: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Waterfall {
    pub(crate) filter: String,
    pub(crate) trace_id: String,
    pub(crate) tree: Tree,
    /// Ids of spans whose children are hidden.
    pub(crate) folded: BTreeSet<String>,
    /// The details are in front: j and k scroll them.
    pub(crate) in_details: bool,
    pub(crate) details_scroll: u16,
    /// When the trace was, milliseconds since the Unix epoch; 0 when only its id is known.
    around_ms: i64,
    cursor: Cursor,
}

impl Waterfall {
    /// Once it is known when the trace was, the traces linked to it can be looked for around that time.
    pub(super) fn grow(&mut self, tree: Tree) {
        if self.around_ms == 0 && !tree.nodes.is_empty() {
            self.around_ms = tree.start_ns / 1_000_000;
        }
        self.tree = tree;
    }

    /// True when the details were in front.
    pub(super) fn leave_details(&mut self) -> bool {
        std::mem::take(&mut self.in_details)
    }
}

impl State {
    pub(super) fn open_waterfall(&mut self, trace_id: &str, around_ms: i64) {
        self.waterfall = Waterfall { trace_id: trace_id.to_owned(), around_ms, ..Waterfall::default() };
        // A trace that was open before is still here, and nothing may be asked about it again.
        if let Some(tree) = self.shown(Panel::Trace).map(|shown| Tree::new(&shown.rows, trace_id)) {
            self.waterfall.grow(tree);
        }
    }

    /// Nodes of the tree that are on the screen, the keys of their spans, and which is selected.
    pub(crate) fn spans_listed(&self) -> (Vec<usize>, Vec<String>, usize) {
        let Some(shown) = self.shown(Panel::Trace) else { return Default::default() };
        let tree = &self.waterfall.tree;
        let filter = &self.waterfall.filter;
        let visible = if filter.is_empty() {
            tree.unfolded(|row| self.waterfall.folded.contains(shown.rows.text("span_id", row)))
        } else {
            tree.with_ancestors(|row| {
                let texts = ["name", "service", "status_message"].map(|column| shown.rows.text(column, row));
                matches(filter, &texts)
            })
        };
        let keys: Vec<String> =
            visible.iter().map(|node| shown.rows.text("span_id", tree.nodes[*node].row).to_owned()).collect();
        let selected = self.waterfall.cursor.index(&keys);
        (visible, keys, selected)
    }

    pub(super) fn ask_waterfall(&self) -> Vec<Question> {
        let trace_id = self.waterfall.trace_id.as_str();
        let linked = self.shown(Panel::LinkedTraces).map(|shown| &shown.rows);
        let ids: Vec<&str> = [trace_id]
            .into_iter()
            .chain(linked.into_iter().flat_map(|rows| (0..rows.len()).map(|row| rows.text("trace_id", row))))
            .collect();
        let values = [
            ("trace", Value::Text(trace_id)),
            ("ids", Value::Texts(&ids)),
            ("around_ms", Value::Number(self.waterfall.around_ms)),
        ];
        let mut panels = vec![Panel::Trace, Panel::TraceLogs];
        if self.waterfall.around_ms != 0 {
            panels.push(Panel::LinkedTraces);
        }
        panels
            .into_iter()
            .map(|panel| {
                let mut question = self.question(panel, panel.sql(&values), self.window, Duration::ZERO);
                question.live = self.trace_is_young();
                question
            })
            .collect()
    }

    pub(super) fn act_on_waterfall(&mut self, action: Action) {
        match action {
            Action::Move(step) if self.waterfall.in_details => self.scroll_details(step),
            Action::Move(Step::Left) => self.fold(),
            Action::Move(Step::Right) => self.unfold(),
            Action::Move(step) => {
                let (_, keys, _) = self.spans_listed();
                self.waterfall.cursor.go(&keys, step);
                self.waterfall.details_scroll = 0;
            }
            Action::Enter => self.waterfall.in_details = !self.waterfall.in_details,
            _ => {}
        }
    }

    fn trace_is_young(&self) -> bool {
        let Some(shown) = self.shown(Panel::Trace) else { return true };
        let tree = &self.waterfall.tree;
        let quiet_ns = shown.at_ns.saturating_sub(tree.start_ns.saturating_add(tree.duration_ns as i64));
        tree.nodes.is_empty() || i128::from(quiet_ns) < YOUNG.as_nanos() as i128
    }

    fn scroll_details(&mut self, step: Step) {
        let scroll = &mut self.waterfall.details_scroll;
        *scroll = match step {
            Step::Up => scroll.saturating_sub(1),
            Step::Down => scroll.saturating_add(1),
            Step::PageUp => scroll.saturating_sub(10),
            Step::PageDown => scroll.saturating_add(10),
            Step::Top => 0,
            Step::Bottom | Step::Left | Step::Right => *scroll,
        };
    }

    /// Hides the children of the selected span; pressed again, goes to its parent.
    fn fold(&mut self) {
        let (visible, keys, selected) = self.spans_listed();
        let Some((node, key)) = visible.get(selected).zip(keys.get(selected)) else { return };
        let node = &self.waterfall.tree.nodes[*node];
        if node.descendants > 0 && !self.waterfall.folded.contains(key) {
            self.waterfall.folded.insert(key.clone());
        } else if let Some(place) = node.parent.and_then(|parent| visible.iter().position(|it| *it == parent)) {
            self.waterfall.cursor = Cursor::at(&keys[place]);
        }
    }

    /// Shows the children again; pressed again, goes to the first of them.
    fn unfold(&mut self) {
        let (visible, keys, selected) = self.spans_listed();
        let Some((node, key)) = visible.get(selected).zip(keys.get(selected)) else { return };
        let has_children = self.waterfall.tree.nodes[*node].descendants > 0;
        if has_children && !self.waterfall.folded.remove(key) {
            self.waterfall.cursor.go(&keys, Step::Down);
        }
    }
}
