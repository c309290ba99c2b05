//! A story as text: one line a span, indented under its parent or under the producer it links to, with a bar on the story's
//! time, its duration and its logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::commands::sql::table::cut;

const SERVICE_WIDTH_MAX: usize = 14;
const DURATION_WIDTH: usize = 9;
/// The bar takes a third of the line.
const BAR_SHARE: usize = 3;

/// `story` as `GET /v1/traces/{id}` answers it.
pub(super) fn draw(story: &Value, width: usize) -> String {
    let mut spans = Vec::new();
    for root in list(story, "spans") {
        collect(root, &mut spans);
    }
    spans.sort_by_key(|span| span.start);
    let logs: Vec<Log> = list(story, "logs").iter().map(Log::read).collect();
    let mut drawing = Drawing::new(&spans, &logs, width);
    drawing.headline(story);
    drawing.body();
    drawing.text
}

struct Span<'a> {
    key: Key<'a>,
    parent: Option<&'a str>,
    links: Vec<Key<'a>>,
    service: &'a str,
    name: &'a str,
    status: &'a str,
    status_message: &'a str,
    start: i128,
    duration: i128,
}

/// Trace id and span id.
type Key<'a> = (&'a str, &'a str);

struct Log<'a> {
    key: Key<'a>,
    service: &'a str,
    time: i128,
    severity: &'a str,
    body: &'a str,
}

fn collect<'a>(value: &'a Value, spans: &mut Vec<Span<'a>>) {
    spans.push(Span {
        key: (text(value, "trace_id"), text(value, "span_id")),
        parent: value.get("parent_span_id").and_then(Value::as_str),
        links: list(value, "links").iter().map(|link| (text(link, "trace_id"), text(link, "span_id"))).collect(),
        service: text(value, "service"),
        name: text(value, "name"),
        status: text(value, "status"),
        status_message: text(value, "status_message"),
        start: nanoseconds(text(value, "time")),
        duration: value.get("duration_ns").and_then(Value::as_i64).unwrap_or_default().into(),
    });
    for child in list(value, "children") {
        collect(child, spans);
    }
}

impl Log<'_> {
    fn read(value: &Value) -> Log<'_> {
        Log {
            key: (text(value, "trace_id"), text(value, "span_id")),
            service: text(value, "service"),
            time: nanoseconds(text(value, "time")),
            severity: text(value, "severity_text"),
            body: text(value, "body"),
        }
    }
}

struct Drawing<'a> {
    spans: &'a [Span<'a>],
    /// Spans under each span, by index, and whether only a link leads there.
    children: Vec<Vec<(usize, bool)>>,
    roots: Vec<usize>,
    logs: BTreeMap<Key<'a>, Vec<&'a Log<'a>>>,
    drawn: Vec<bool>,
    start: i128,
    length: i128,
    service_width: usize,
    name_width: usize,
    bar_width: usize,
    width: usize,
    text: String,
}

impl<'a> Drawing<'a> {
    fn new(spans: &'a [Span<'a>], logs: &'a [Log<'a>], width: usize) -> Drawing<'a> {
        let mut by_id = HashMap::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            by_id.entry(span.key).or_insert(index);
        }
        let mut children = vec![Vec::new(); spans.len()];
        let mut roots = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            let parent = span.parent.and_then(|parent| by_id.get(&(span.key.0, parent)));
            let linked = span.links.iter().find_map(|link| by_id.get(link));
            match (parent, linked) {
                (Some(parent), _) if *parent != index => children[*parent].push((index, false)),
                (_, Some(producer)) if *producer != index => children[*producer].push((index, true)),
                _ => roots.push(index),
            }
        }
        let mut by_span: BTreeMap<Key, Vec<&Log>> = BTreeMap::new();
        for log in logs {
            by_span.entry(log.key).or_default().push(log);
        }
        let times = spans.iter().flat_map(|span| [span.start, span.start + span.duration]);
        let (start, end) = times
            .chain(logs.iter().map(|log| log.time))
            .fold((i128::MAX, i128::MIN), |(start, end), time| (start.min(time), end.max(time)));
        let longest = spans.iter().map(|span| span.service.chars().count()).max().unwrap_or_default();
        let service_width = longest.clamp(1, SERVICE_WIDTH_MAX);
        let bar_width = (width / BAR_SHARE).max(10);
        let name_width = width.saturating_sub(service_width + bar_width + DURATION_WIDTH + 6).max(16);
        Drawing {
            spans,
            children,
            roots,
            logs: by_span,
            drawn: vec![false; spans.len()],
            start: start.min(end),
            length: (end - start).max(1),
            service_width,
            name_width,
            bar_width,
            width,
            text: String::new(),
        }
    }

    fn headline(&mut self, story: &Value) {
        let services: BTreeSet<&str> = self.spans.iter().map(|span| span.service).collect();
        let errors = self.spans.iter().filter(|span| span.status == "Error").count();
        let logs: usize = self.logs.values().map(Vec::len).sum();
        let begin = Timestamp::from_nanosecond(self.start).map(|at| format!("{at:.3}")).unwrap_or_default();
        let _ = writeln!(self.text, "trace {}  {begin}  {}", text(story, "trace_id"), duration(self.length));
        let counts = [
            counted(services.len(), "service"),
            counted(self.spans.len(), "span"),
            counted(errors, "error"),
            counted(logs, "log record"),
        ];
        let _ = write!(self.text, "{}", counts.join(", "));
        let linked = list(story, "traces").len().saturating_sub(1);
        if linked > 0 {
            let _ = write!(self.text, ", {} linked by messages", counted(linked, "trace"));
        }
        let left_out = story.get("traces_left_out").and_then(Value::as_u64).unwrap_or_default();
        if left_out > 0 {
            let _ = write!(self.text, " and {left_out} more left out");
        }
        self.text.push_str("\n\n");
    }

    fn body(&mut self) {
        for root in std::mem::take(&mut self.roots) {
            self.branch(root);
        }
        // What is left are spans that are each other's parents.
        for index in 0..self.spans.len() {
            self.branch(index);
        }
        let mut astray: Vec<&Log> = std::mem::take(&mut self.logs).into_values().flatten().collect();
        astray.sort_by_key(|log| log.time);
        if !astray.is_empty() {
            self.text.push_str("\nlogs outside of these spans\n");
            for log in astray {
                self.log(log, 0, log.service);
            }
        }
    }

    /// A span and what is under it. A loop, because a trace may be as deep as it is long.
    fn branch(&mut self, root: usize) {
        let mut waiting = vec![(root, 0, false)];
        while let Some((index, depth, linked)) = waiting.pop() {
            if std::mem::replace(&mut self.drawn[index], true) {
                continue;
            }
            self.span(index, depth, linked);
            let below = self.children[index].iter().rev();
            waiting.extend(below.map(|(child, linked)| (*child, depth + 1, *linked)));
        }
    }

    fn span(&mut self, index: usize, depth: usize, linked: bool) {
        let span = &self.spans[index];
        let failed = span.status == "Error";
        let mark = if failed { "✗ " } else { "" };
        let arrow = if linked { "~ " } else { "" };
        // Deep spans keep room for their names.
        let indent = "  ".repeat(depth).chars().take(self.name_width / 2).collect::<String>();
        let name = cut(&one_line(&format!("{indent}{arrow}{mark}{}", span.name)), self.name_width);
        let service = cut(&one_line(span.service), self.service_width);
        let line = format!(
            "{service:<sw$}  {name:<nw$}  {bar:<bw$} {time:>tw$}",
            bar = self.bar(span),
            time = duration(span.duration),
            sw = self.service_width,
            nw = self.name_width,
            bw = self.bar_width,
            tw = DURATION_WIDTH,
        );
        let _ = writeln!(self.text, "{}", line.trim_end());
        if failed && !span.status_message.is_empty() {
            self.note(depth, &format!("✗ {}", span.status_message));
        }
        for log in self.logs.remove(&span.key).unwrap_or_default() {
            self.log(log, depth, "");
        }
    }

    fn log(&mut self, log: &Log, depth: usize, service: &str) {
        let after = duration(log.time - self.start);
        let from = if service.is_empty() { "" } else { " " };
        self.note(depth, &format!("· +{after} {:<5} {service}{from}{}", log.severity, log.body));
    }

    fn note(&mut self, depth: usize, text: &str) {
        let indent = (self.service_width + 2 + 2 * depth).min(self.width / 2);
        let line = cut(&one_line(text), self.width.saturating_sub(indent).max(20));
        let _ = writeln!(self.text, "{}{}", " ".repeat(indent), line.trim_end());
    }

    fn bar(&self, span: &Span) -> String {
        let columns = self.bar_width as i128;
        let first = ((span.start - self.start) * columns / self.length).clamp(0, columns - 1);
        let last = ((span.start - self.start + span.duration) * columns / self.length).clamp(first, columns - 1);
        let (before, long) = (first as usize, (last - first + 1) as usize);
        " ".repeat(before) + "━".repeat(long).as_str()
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn nanoseconds(time: &str) -> i128 {
    time.parse::<Timestamp>().map(Timestamp::as_nanosecond).unwrap_or_default()
}

/// Telemetry comes from anywhere: control characters must not reach the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Three figures and a unit.
fn duration(ns: i128) -> String {
    let ns = ns as f64;
    let (value, unit) = match ns.abs() {
        below if below < 1e3 => return format!("{ns} ns"),
        below if below < 1e6 => (ns / 1e3, "µs"),
        below if below < 1e9 => (ns / 1e6, "ms"),
        below if below < 60e9 => (ns / 1e9, "s"),
        below if below < 3600e9 => (ns / 60e9, "min"),
        _ => (ns / 3600e9, "h"),
    };
    let digits = match value.abs() {
        tens if tens < 9.995 => 2,
        hundreds if hundreds < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn span(id: &str, parent: Option<&str>, service: &str, name: &str, start_ms: u32, ms: i64) -> Value {
        json!({
            "trace_id": "a", "span_id": id, "parent_span_id": parent, "service": service, "name": name,
            "time": format!("2026-11-22T12:00:00.{start_ms:03}000000Z"), "duration_ns": ms * 1_000_000,
            "status": "Unset", "status_message": "", "links": [], "children": []
        })
    }

    #[test]
    fn a_payment_reads_as_one_story() {
        let mut request = span("1", None, "core", "POST /v1/payments", 0, 60);
        let mut charge = span("2", Some("1"), "acquirer", "POST /v1/charges", 10, 30);
        charge["status"] = json!("Error");
        charge["status_message"] = json!("declined");
        request["children"] = json!([charge, span("3", Some("1"), "core", "send payments", 50, 5)]);
        let mut batch = span("9", None, "analytics", "process payments", 80, 20);
        batch["trace_id"] = json!("b");
        batch["links"] = json!([{ "trace_id": "a", "span_id": "3" }]);
        let story = json!({
            "trace_id": "a", "traces": ["a", "b"], "traces_left_out": 0, "spans": [request, batch],
            "logs": [
                { "trace_id": "a", "span_id": "2", "service": "acquirer", "severity_text": "WARN",
                  "time": "2026-11-22T12:00:00.035000000Z", "body": "card\ndeclined" },
                { "trace_id": "a", "span_id": null, "service": "core", "severity_text": "INFO",
                  "time": "2026-11-22T12:00:00.099000000Z", "body": "done" },
            ]
        });
        let drawn = draw(&story, 80);
        assert_eq!(
            drawn,
            "trace a  2026-11-22T12:00:00.000Z  100 ms
3 services, 4 spans, 1 error, 2 log records, 1 trace linked by messages

core       POST /v1/payments               ━━━━━━━━━━━━━━━━             60.0 ms
acquirer     ✗ POST /v1/charges              ━━━━━━━━━                  30.0 ms
             ✗ declined
             · +35.0 ms WARN  card declined
core         send payments                              ━━              5.00 ms
analytics      ~ process payments                              ━━━━━━   20.0 ms

logs outside of these spans
           · +99.0 ms INFO  core done
"
        );
        assert!(drawn.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn durations_have_three_figures() {
        let shown = [0, 999, 1_500, 15_000_000, 999_999_999, 2_500_000_000, 90_000_000_000].map(duration);
        assert_eq!(shown, ["0 ns", "999 ns", "1.50 µs", "15.0 ms", "1000 ms", "2.50 s", "1.50 min"]);
    }
}
