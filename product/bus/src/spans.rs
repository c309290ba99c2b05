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

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use opentelemetry::{Context, global, trace::TracerProvider};
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        propagation::TraceContextPropagator,
        trace::{SdkTracerProvider, SpanData, SpanProcessor},
    };
    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _span: &mut opentelemetry_sdk::trace::Span, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().expect("nobody panics here").push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_processed_as_a_child_of_its_sending_and_linked_to_it() {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_span_processor(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        global::set_text_map_propagator(TraceContextPropagator::new());
        let mut event = Event::new("thing.happened", "k", json!(null));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let cause = info_span!("cause");
            event.traceparent = cause.in_scope(observe::context::current_traceparent);
            let sending = send("things", &event);
            event.traceparent =
                observe::context::headers_of(&sending).into_iter().map(|(_, traceparent)| traceparent).next();
            drop((sending, process("things", 1, 2, "scribes", &event)));
        });
        let spans = kept.0.lock().expect("nobody panics here");
        let named = |name: &str| spans.iter().find(|span| span.name == name).expect("a span of that name");
        let (cause, sent, processed) = (named("cause"), named("send things"), named("process things"));
        assert_eq!(sent.parent_span_id, cause.span_context.span_id());
        assert_eq!(processed.parent_span_id, sent.span_context.span_id());
        assert_eq!(processed.span_context.trace_id(), cause.span_context.trace_id());
        let links: Vec<_> = processed.links.iter().map(|link| link.span_context.span_id()).collect();
        assert_eq!(links, [sent.span_context.span_id()]);
    }
}
