//! `calls` and `duration`: how many spans there were and how long they took, by service, name, kind and status.

use super::series::{Clock, Exemplar, Histogram, Table, write_key};
use crate::spans::Spans;

/// What a span is counted by, in this order and before what the settings name.
pub(super) const ATTRIBUTES: [&str; 4] = ["service.name", "span.name", "span.kind", "status.code"];

/// As OpenTelemetry calls a service that does not say its name.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Calls are the count of the durations.
pub(super) fn count(spans: &Spans<'_>, more: &[String], table: &mut Table<Histogram>, series_max: usize, clock: Clock) {
    let mut key = String::new();
    // A part that is there begins with this, so that '' and none are two.
    let mut found = String::new();
    for row in 0..spans.len() {
        let service = Some(spans.service(row)).filter(|service| !service.is_empty()).unwrap_or(UNKNOWN_SERVICE);
        let first = [service, spans.name(row), kind_name(spans.kind(row)), status_name(spans.status(row))];
        write_key(&mut key, first);
        for name in more {
            if let Some(value) = spans.attribute(row, name) {
                write_key(&mut found, [value]);
                key.push(PRESENT);
                key.push_str(&found);
            } else {
                write_key(&mut found, [""]);
                key.push_str(&found);
            }
        }
        let exemplar = Exemplar {
            trace_id: spans.trace_id(row),
            span_id: spans.span_id(row),
            time_ns: spans.end_ns(row),
            duration_ns: spans.duration_ns(row),
        };
        table.entry(&key, series_max, clock).add(exemplar.duration_ns, Some(exemplar));
    }
}

const PRESENT: char = '+';

/// Names and values of what a series was counted by, of the parts of its key.
pub(super) fn attributes<'a>(
    parts: impl Iterator<Item = &'a str>,
    more: &'a [String],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let names = ATTRIBUTES.into_iter().chain(more.iter().map(String::as_str));
    names.zip(parts).enumerate().filter_map(|(at, (name, part))| match at < ATTRIBUTES.len() {
        true => Some((name, part)),
        false => part.strip_prefix(PRESENT).map(|value| (name, value)),
    })
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "Internal" => "SPAN_KIND_INTERNAL",
        "Server" => "SPAN_KIND_SERVER",
        "Client" => "SPAN_KIND_CLIENT",
        "Producer" => "SPAN_KIND_PRODUCER",
        "Consumer" => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

fn status_name(status: &str) -> &'static str {
    match status {
        "Ok" => "STATUS_CODE_OK",
        "Error" => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}
