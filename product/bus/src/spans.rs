//! Spans of single messages by the messaging semantic conventions.

use opentelemetry::trace::TraceContextExt;
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::Event;

/// "send payments", child of whoever caused the event (a row of the outbox remembers it).
pub(crate) fn send(topic: &str, event: &Event) -> Span {
    let span = info_span!(
        "send",
        otel.name = format!("send {topic}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.type = "send",
        messaging.operation.name = "send",
        messaging.destination.name = topic,
        messaging.destination.partition.id = Empty,
        messaging.kafka.offset = Empty,
        messaging.kafka.message.key = event.key,
        messaging.message.id = %event.id,
        error.type = Empty,
    );
    let cause = observe::context::extract(event.trace_headers());
    if cause.span().span_context().is_valid() {
        // Fails only where no subscriber made this a span: then there is nothing to be the parent of.
        let _ = span.set_parent(cause);
    }
    span
}

pub(crate) fn sent(span: &Span, partition: i32, offset: i64) {
    span.record("messaging.destination.partition.id", partition.to_string()).record("messaging.kafka.offset", offset);
}

/// "process payments": child of the producer's span, and linked to it.
pub(crate) fn process(topic: &str, partition: i32, offset: i64, group: &str, event: &Event) -> Span {
    let span = info_span!(
        "process",
        otel.name = format!("process {topic}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = topic,
        messaging.destination.partition.id = partition.to_string(),
        messaging.kafka.offset = offset,
        messaging.kafka.message.key = event.key,
        messaging.message.id = %event.id,
        messaging.consumer.group.name = group,
        error.type = Empty,
    );
    let producer = observe::context::extract(event.trace_headers());
    let context = producer.span().span_context().clone();
    if context.is_valid() {
        let _ = span.set_parent(producer);
        span.add_link(context);
    }
    span
}

pub(crate) fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind).record("otel.status_code", "ERROR");
}
