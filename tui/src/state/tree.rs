//! The spans of a trace as a tree, across services and across messages.
//!
//! A span hangs below its parent; one whose parent is not here hangs below a span it links to, which is how a consumer
//! that starts its own trace still appears under its producer.

use std::collections::HashMap;

use crate::rows::Rows;

/// One span in the order of drawing: parents before children, siblings by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) row: usize,
    pub(crate) depth: usize,
    /// Index of the parent among the nodes.
    pub(crate) parent: Option<usize>,
    /// Nodes below it; they follow it directly.
    pub(crate) descendants: usize,
    /// It came by a message: it links to the span it hangs under.
    pub(crate) is_linked: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) start_ns: i64,
    pub(crate) duration_ns: f64,
    /// In order of appearance: the place of a service is its colour.
    pub(crate) services: Vec<String>,
    pub(crate) errors: usize,
}

impl Tree {
    /// `trace_id` says which trace comes first when messages brought in others.
    pub(crate) fn new(rows: &Rows, trace_id: &str) -> Tree {
        let by_id: HashMap<(&str, &str), usize> =
            (0..rows.len()).map(|row| ((rows.text("trace_id", row), rows.text("span_id", row)), row)).collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
        let mut linked = Vec::with_capacity(rows.len());
        let mut roots = Vec::new();
        for row in 0..rows.len() {
            let parent = by_id.get(&(rows.text("trace_id", row), rows.text("parent_span_id", row))).copied();
            let link = rows
                .links("links", row)
                .iter()
                .find_map(|link| by_id.get(&(link.trace_id.as_str(), link.span_id.as_str())).copied());
            linked.push(link.is_some() && parent.is_none_or(|parent| Some(parent) == link));
            match parent.or(link).filter(|parent| *parent != row) {
                Some(parent) => children[parent].push(row),
                None => roots.push(row),
            }
        }
        roots.sort_by_key(|row| (rows.text("trace_id", *row) != trace_id, rows.time_ns("time", *row)));
        for siblings in &mut children {
            siblings.sort_by_key(|row| rows.time_ns("time", *row));
        }
        let mut tree = Tree { nodes: Vec::with_capacity(rows.len()), ..Tree::default() };
        let mut placed = vec![false; rows.len()];
        // Spans that are each other's ancestors are reached from no root: malformed, but still shown.
        for root in roots.into_iter().chain(0..rows.len()) {
            tree.place(root, &children, &linked, &mut placed);
        }
        tree.measure(rows);
        tree
    }

    /// Nodes not below a folded one.
    pub(crate) fn unfolded(&self, is_folded: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut visible = Vec::new();
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            visible.push(next);
            next += if is_folded(node.row) { node.descendants + 1 } else { 1 };
        }
        visible
    }

    /// Nodes that match, each with the way to it.
    pub(crate) fn with_ancestors(&self, is_match: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut keep = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if is_match(node.row) {
                let mut next = Some(index);
                while let Some(index) = next.filter(|index| !keep[*index]) {
                    keep[index] = true;
                    next = self.nodes[index].parent;
                }
            }
        }
        (0..self.nodes.len()).filter(|index| keep[*index]).collect()
    }

    pub(crate) fn service_index(&self, service: &str) -> usize {
        self.services.iter().position(|it| it == service).unwrap_or(0)
    }

    /// Without recursion: a trace may be as deep as it has spans.
    fn place(&mut self, root: usize, children: &[Vec<usize>], linked: &[bool], placed: &mut [bool]) {
        let mut waiting = vec![(root, None)];
        while let Some((row, parent)) = waiting.pop() {
            if std::mem::replace(&mut placed[row], true) {
                continue;
            }
            let index = self.nodes.len();
            let depth = parent.map_or(0, |parent: usize| self.nodes[parent].depth + 1);
            self.nodes.push(Node { row, depth, parent, descendants: 0, is_linked: linked[row] });
            waiting.extend(children[row].iter().rev().map(|child| (*child, Some(index))));
        }
    }

    fn measure(&mut self, rows: &Rows) {
        for index in (0..self.nodes.len()).rev() {
            if let Some(parent) = self.nodes[index].parent {
                self.nodes[parent].descendants += self.nodes[index].descendants + 1;
            }
        }
        let start_ns = (0..rows.len()).map(|row| rows.time_ns("time", row)).min().unwrap_or(0);
        let offset_ns = |row| rows.time_ns("time", row).saturating_sub(start_ns) as f64;
        self.duration_ns =
            (0..rows.len()).map(|row| offset_ns(row) + rows.real("duration_ns", row)).fold(0.0, f64::max);
        self.start_ns = start_ns;
        self.errors = (0..rows.len()).filter(|row| rows.text("status", *row) == "Error").count();
        for node in &self.nodes {
            let service = rows.text("service", node.row);
            if !self.services.iter().any(|it| it == service) {
                self.services.push(service.to_owned());
            }
        }
    }
}
