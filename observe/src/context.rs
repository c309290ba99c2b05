//! W3C trace context as text, for headers of any kind and for rows that wait.

use std::collections::HashMap;

use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// `traceparent` and, when it holds something, `tracestate` of the current span; empty outside a trace.
pub fn headers() -> Vec<(String, String)> {
    headers_of(&Span::current())
}

/// The same of a given span.
pub fn headers_of(span: &Span) -> Vec<(String, String)> {
    let mut headers = Pairs(Vec::with_capacity(2));
    global::get_text_map_propagator(|propagator| propagator.inject_context(&span.context(), &mut headers));
    headers.0
}

/// `traceparent` of the current span.
pub fn current_traceparent() -> Option<String> {
    headers().into_iter().find_map(|(name, value)| (name == TRACEPARENT).then_some(value))
}

/// The remote context that headers name, their names in any case; an empty context if they name none.
pub fn extract<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Context {
    let headers = Names(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect());
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &headers))
}

struct Pairs(Vec<(String, String)>);

impl Injector for Pairs {
    fn set(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.0.push((name.to_owned(), value));
        }
    }
}

struct Names<'a>(HashMap<String, &'a str>);

impl Extractor for Names<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
