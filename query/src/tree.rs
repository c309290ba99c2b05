//! Spans as a tree: each under its parent, in order of start.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Deepest nesting of the answer. JSON readers commonly refuse more than 128 levels, and each span takes two; what lies deeper
/// is listed at this depth, with its `parent_span_id` to tell.
const DEPTH_MAX: usize = 48;

type Span = Map<String, Value>;

/// Roots with their `children`. A span whose parent is not there is a root; so is the first of spans that are each other's
/// parents. Every span appears exactly once.
pub(crate) fn tree(mut spans: Vec<Span>) -> Vec<Value> {
    spans.sort_by(|a, b| text(a, "time").cmp(text(b, "time")));
    let mut by_id = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        by_id.entry((text(span, "trace_id"), text(span, "span_id"))).or_insert(index);
    }
    let mut children = vec![Vec::new(); spans.len()];
    let mut roots = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        match by_id.get(&(text(span, "trace_id"), text(span, "parent_span_id"))) {
            Some(parent) if *parent != index => children[*parent].push(index),
            _ => roots.push(index),
        }
    }
    let mut growing = Growing { spans: spans.into_iter().map(Some).collect(), children };
    let mut trees: Vec<Value> = roots.into_iter().filter_map(|root| growing.grow(root)).collect();
    // What is left are circles.
    for index in 0..growing.spans.len() {
        trees.extend(growing.grow(index));
    }
    trees
}

struct Growing {
    spans: Vec<Option<Span>>,
    children: Vec<Vec<usize>>,
}

impl Growing {
    /// The tree of a span, unless it has its place already.
    fn grow(&mut self, index: usize) -> Option<Value> {
        self.spans[index].is_some().then(|| self.nest(index, 1)).flatten()
    }

    fn nest(&mut self, index: usize, depth: usize) -> Option<Value> {
        let mut span = self.spans[index].take()?;
        let mut nested = Vec::new();
        match depth < DEPTH_MAX {
            true => {
                for child in std::mem::take(&mut self.children[index]) {
                    nested.extend(self.nest(child, depth + 1));
                }
            }
            false => {
                let mut below = std::mem::take(&mut self.children[index]);
                while let Some(next) = below.pop() {
                    below.append(&mut self.children[next]);
                    if let Some(mut span) = self.spans[next].take() {
                        span.insert("children".to_owned(), Value::Array(Vec::new()));
                        nested.push(span.into());
                    }
                }
            }
        }
        span.insert("children".to_owned(), nested.into());
        Some(span.into())
    }
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    span.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spans: &[(&str, &str)], expected: &str) {
        let spans = spans.iter().enumerate().map(|(time, (id, parent))| {
            let parent = if parent.is_empty() { Value::Null } else { json!(parent) };
            let span =
                json!({ "time": format!("{time:06}"), "trace_id": "t", "span_id": id, "parent_span_id": parent });
            span.as_object().unwrap().clone()
        });
        let drawn: Vec<String> = tree(spans.collect()).iter().map(draw).collect();
        assert_eq!(drawn.join(" "), expected);
    }

    fn draw(span: &Value) -> String {
        let children: Vec<String> = span["children"].as_array().unwrap().iter().map(draw).collect();
        let id = span["span_id"].as_str().unwrap();
        if children.is_empty() { id.to_owned() } else { format!("{id}({})", children.join(" ")) }
    }

    #[test]
    fn children_stand_under_their_parent_in_order() {
        check(&[("a", ""), ("b", "a"), ("c", "a"), ("d", "b")], "a(b(d) c)");
    }

    #[test]
    fn a_span_whose_parent_is_missing_is_a_root() {
        check(&[("a", "gone"), ("b", "a"), ("c", "")], "a(b) c");
    }

    #[test]
    fn circles_and_twins_appear_once() {
        check(&[("a", "b"), ("b", "a"), ("c", "c"), ("d", ""), ("d", "")], "c d d a(b)");
    }

    #[test]
    fn what_is_deeper_than_readers_take_is_listed_flat() {
        let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
        let spans = ids.iter().enumerate().map(|(time, id)| {
            let parent = if time == 0 { Value::Null } else { json!(ids[time - 1]) };
            json!({ "time": format!("{time:06}"), "trace_id": "t", "span_id": id, "parent_span_id": parent })
                .as_object()
                .unwrap()
                .clone()
        });
        let answer = serde_json::to_string(&tree(spans.collect())).unwrap();
        let read: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(draw(&read[0]).split(['(', ' ']).count(), 100);
    }
}
