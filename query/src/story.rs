//! The whole story of a trace: its spans and logs, and those of the traces its messages link to or come from.
//!
//! Upstream, links are followed from consumer to producer; downstream, from producer to everything that links to it. A batch
//! that consumed a hundred messages is part of each one's story, the other ninety-nine are not.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Batch, Signal, Table};

use crate::{Engine, QueryError};

pub(crate) type TraceId = [u8; 16];

/// Traces one story may span: a message that a thousand batches picked up is not readable any more.
const TRACES_MAX: usize = 64;
/// Spans, and logs, one story may have.
const ROWS_MAX: usize = 100_000;
/// Clocks of two machines may disagree by this much, in nanoseconds.
const SKEW: i64 = 60_000_000_000;
/// How long after a trace's last span a consumer that links to it is looked for, in nanoseconds.
const LINK_DELAY_MAX: i64 = 3_600_000_000_000;

/// Rows as they rest, ids as bytes.
#[derive(Debug)]
pub(crate) struct Story {
    /// All traces in it, the one asked for first.
    pub(crate) traces: Vec<TraceId>,
    /// Linked traces left out because there are too many.
    pub(crate) traces_left_out: usize,
    pub(crate) spans: Vec<RecordBatch>,
    pub(crate) logs: Vec<RecordBatch>,
}

/// 32 hex digits of either case, not all zero.
pub(crate) fn trace_id(text: &str) -> Result<TraceId, QueryError> {
    let mut id = TraceId::default();
    match hex::decode_to_slice(text, &mut id) {
        Ok(()) if id != TraceId::default() => Ok(id),
        _ => Err(QueryError::Question(format!("{text:?} is no trace id: it takes 32 hex digits, not all of them 0"))),
    }
}

impl Story {
    pub(crate) async fn of(engine: &Engine, id: TraceId) -> Result<Story, QueryError> {
        let mut story = Story { traces: vec![id], traces_left_out: 0, spans: Vec::new(), logs: Vec::new() };
        let first = story.add_spans(engine, &[id]).await?;
        story.follow(engine, first.clone(), upstream).await?;
        story.follow(engine, first, downstream).await?;
        story.logs = rows(engine, Table::Logs, &story.traces).await?;
        match story.spans.is_empty() && story.logs.is_empty() {
            true => Err(QueryError::Unknown(format!("no spans and no logs of trace {}", hex::encode(id)))),
            false => Ok(story),
        }
    }

    /// Spans and logs as one OTLP/JSON object with `resourceSpans` and `resourceLogs`.
    pub(crate) fn otlp(&self) -> Result<serde_json::Value, QueryError> {
        let mut whole = serde_json::Map::new();
        for (signal, table, rows) in
            [(Signal::Traces, Table::Spans, &self.spans), (Signal::Logs, Table::Logs, &self.logs)]
        {
            let batches: Vec<Batch> = rows
                .iter()
                .map(|rows| Batch::new(table, rows.clone()))
                .collect::<Result<_, _>>()
                .map_err(|error| QueryError::Internal(error.to_string()))?;
            if let serde_json::Value::Object(request) = model::encode_json(signal, &batches) {
                whole.extend(request);
            }
        }
        Ok(whole.into())
    }

    async fn follow(
        &mut self,
        engine: &Engine,
        mut spans: Vec<RecordBatch>,
        step: impl AsyncFn(&Engine, &[RecordBatch]) -> Result<BTreeSet<TraceId>, QueryError>,
    ) -> Result<(), QueryError> {
        while !spans.is_empty() {
            let known: HashSet<TraceId> = self.traces.iter().copied().collect();
            let mut found: Vec<TraceId> =
                step(engine, &spans).await?.into_iter().filter(|id| !known.contains(id)).collect();
            let room = TRACES_MAX.saturating_sub(self.traces.len());
            self.traces_left_out += found.len().saturating_sub(room);
            found.truncate(room);
            if found.is_empty() {
                return Ok(());
            }
            self.traces.extend(&found);
            spans = self.add_spans(engine, &found).await?;
        }
        Ok(())
    }

    async fn add_spans(&mut self, engine: &Engine, traces: &[TraceId]) -> Result<Vec<RecordBatch>, QueryError> {
        let spans = rows(engine, Table::Spans, traces).await?;
        self.spans.extend(spans.iter().cloned());
        let count: usize = self.spans.iter().map(RecordBatch::num_rows).sum();
        match count > ROWS_MAX {
            true => Err(too_large()),
            false => Ok(spans),
        }
    }
}

async fn rows(engine: &Engine, table: Table, traces: &[TraceId]) -> Result<Vec<RecordBatch>, QueryError> {
    let sql = format!(
        "SELECT * FROM stored.{} WHERE hex_ids(trace_id) IN ({}) ORDER BY time LIMIT {}",
        table.name(),
        texts(traces),
        ROWS_MAX + 1
    );
    let (_, batches) = engine.collect(&sql).await?;
    match batches.iter().map(RecordBatch::num_rows).sum::<usize>() > ROWS_MAX {
        true => Err(too_large()),
        false => Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect()),
    }
}

fn too_large() -> QueryError {
    QueryError::TooLarge(format!("the trace has more than {ROWS_MAX} spans or logs; read it in parts with SQL"))
}

fn texts(traces: &[TraceId]) -> String {
    let quoted: Vec<String> = traces.iter().map(|id| format!("'{}'", hex::encode(id))).collect();
    quoted.join(", ")
}

/// Traces that these spans link to.
async fn upstream(_engine: &Engine, spans: &[RecordBatch]) -> Result<BTreeSet<TraceId>, QueryError> {
    let mut found = BTreeSet::new();
    for batch in spans {
        let links = column(batch, "links")?.as_list::<i32>().values().as_struct();
        let Some(ids) = links.column_by_name("trace_id") else { continue };
        found.extend(ids.as_fixed_size_binary().iter().flatten().filter_map(|id| TraceId::try_from(id).ok()));
    }
    Ok(found)
}

/// Traces with a span that links to one of these.
async fn downstream(engine: &Engine, spans: &[RecordBatch]) -> Result<BTreeSet<TraceId>, QueryError> {
    let (mut first, mut last, mut traces) = (i64::MAX, i64::MIN, BTreeSet::new());
    for batch in spans {
        let start = column(batch, "time")?.as_primitive::<TimestampNanosecondType>();
        let end = column(batch, "end_time")?.as_primitive::<TimestampNanosecondType>();
        first = arrow::compute::min(start).map_or(first, |start| first.min(start));
        last = arrow::compute::max(end).map_or(last, |end| last.max(end));
        let ids = column(batch, "trace_id")?.as_fixed_size_binary();
        traces.extend(ids.iter().flatten().filter_map(|id| TraceId::try_from(id).ok()));
    }
    let traces: Vec<TraceId> = traces.into_iter().collect();
    let sql = format!(
        "SELECT DISTINCT trace_id FROM (
           SELECT trace_id, unnest(links) AS link FROM stored.spans
           WHERE time >= to_timestamp_nanos({}) AND time <= to_timestamp_nanos({}) AND cardinality(links) > 0
         ) WHERE hex_ids(link['trace_id']) IN ({}) LIMIT {}",
        first.saturating_sub(SKEW),
        last.saturating_add(LINK_DELAY_MAX),
        texts(&traces),
        ROWS_MAX,
    );
    let (_, batches) = engine.collect(&sql).await?;
    let mut found = BTreeSet::new();
    for batch in &batches {
        let ids = column(batch, "trace_id")?.as_fixed_size_binary();
        found.extend(ids.iter().flatten().filter_map(|id| TraceId::try_from(id).ok()));
    }
    Ok(found)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, QueryError> {
    let column = batch.column_by_name(name).map(AsRef::as_ref);
    column.ok_or_else(|| QueryError::Internal(format!("spans without a column {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_32_hex_digits_of_either_case() {
        assert_eq!(trace_id("000102030405060708090A0b0c0d0e0f").unwrap()[10], 10);
        for bad in ["", "00", "zz0102030405060708090a0b0c0d0e0f", "00000000000000000000000000000000"] {
            let error = trace_id(bad).unwrap_err().to_string();
            assert!(error.contains("is no trace id"), "{error}");
        }
    }
}
