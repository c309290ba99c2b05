//! `/metrics`: the measures in Prometheus' text format, version 0.0.4.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Seen;
use super::measures::{Kind, MEASURES, Measure};
use crate::collector::Collector;

pub(crate) async fn metrics(State(collector): State<Arc<Collector>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&Seen::of(&collector)))
}

fn text(seen: &Seen) -> String {
    let mut text = String::new();
    for measure in MEASURES {
        write_family(&mut text, measure, seen);
    }
    text
}

/// A family with no value is left out: a client's, as long as there are no clients.
fn write_family(text: &mut String, measure: &Measure, seen: &Seen) {
    let name = family(measure);
    let mut samples = String::new();
    (measure.read)(seen, &mut |value, labels| {
        samples.push_str(&name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(samples, "{}{}=\"{}\"", if at == 0 { '{' } else { ',' }, label_name(label), escaped(value));
        }
        samples.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = match measure.unit {
            "ms" => writeln!(samples, "{}.{:03}", value / 1000, value % 1000),
            _ => writeln!(samples, "{value}"),
        };
    });
    if !samples.is_empty() {
        let kind = match measure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n{samples}", measure.help);
    }
}

/// Underscores, the base unit in words, and `_total` for what only grows.
fn family(measure: &Measure) -> String {
    let unit = match measure.unit {
        "By" => "_bytes",
        "ms" => "_seconds",
        _ => "",
    };
    let total = if measure.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", measure.name.replace('.', "_"))
}

/// Without the first word where it is ours: the family's name has it already.
fn label_name(label: &str) -> String {
    label.strip_prefix("faultline.").unwrap_or(label).replace('.', "_")
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_family_has_one_name_in_each_spelling() {
        let names: BTreeSet<_> = MEASURES.iter().map(family).collect();
        assert_eq!(names.len(), MEASURES.len());
        for name in names {
            assert!(name.starts_with("faultline_collector_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }

    #[test]
    fn names_say_the_unit_and_what_only_grows() {
        let measure = |unit, kind| Measure { name: "a.b", unit, help: "", kind, read: |_, _| {} };
        assert_eq!(family(&measure("By", Kind::Gauge)), "a_b_bytes");
        assert_eq!(family(&measure("ms", Kind::Gauge)), "a_b_seconds");
        assert_eq!(family(&measure("{request}", Kind::Counter)), "a_b_total");
        assert_eq!(
            (label_name("faultline.worker").as_str(), label_name("otlp.signal").as_str()),
            ("worker", "otlp_signal")
        );
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
