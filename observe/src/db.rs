//! Calls of databases by the database semantic conventions.

use std::{future::Future, sync::LazyLock, time::Instant};

use opentelemetry::KeyValue;
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{DATABASE_BOUNDARIES_S, Durations};

pub const SQLITE: &str = "sqlite";

static DURATION: LazyLock<Durations> = LazyLock::new(|| {
    Durations::new(
        "db",
        "db.client.operation.duration",
        "Time a call of the database took, the wait for a connection included where the call is what waits",
        &DATABASE_BOUNDARIES_S,
    )
});

/// A call about to be made: a CLIENT span "SELECT payments" and its duration.
#[must_use = "nothing is told before `run`"]
pub struct Call {
    span: Span,
    attributes: Vec<KeyValue>,
}

/// A statement about one table.
pub fn call(system: &'static str, operation: &str, collection: &str) -> Call {
    let summary = format!("{operation} {collection}");
    let span = info_span!(
        "db",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        db.collection.name = collection,
        db.query.summary = summary,
        error.type = Empty,
    );
    let collection = KeyValue::new("db.collection.name", collection.to_owned());
    let attributes = [attributes(system, operation), vec![collection]].concat();
    Call { span, attributes }
}

/// A statement about the whole database, such as COMMIT.
pub fn plain_call(system: &'static str, operation: &str) -> Call {
    let span = info_span!(
        "db",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        db.query.summary = operation,
        error.type = Empty,
    );
    Call { span, attributes: attributes(system, operation) }
}

fn attributes(system: &'static str, operation: &str) -> Vec<KeyValue> {
    vec![KeyValue::new("db.system.name", system), KeyValue::new("db.operation.name", operation.to_owned())]
}

impl Call {
    /// `kind` names a failure by a word of few values, such as a SQLite result code.
    pub async fn run<T, E>(
        mut self,
        work: impl Future<Output = Result<T, E>>,
        kind: impl FnOnce(&E) -> String,
    ) -> Result<T, E> {
        let started = Instant::now();
        let done = work.instrument(self.span.clone()).await;
        if let Err(error) = &done {
            let kind = kind(error);
            self.span.record("error.type", &kind).record("otel.status_code", "ERROR");
            self.attributes.push(KeyValue::new("error.type", kind));
        }
        DURATION.record(started.elapsed(), &self.attributes, &self.span);
        done
    }
}
