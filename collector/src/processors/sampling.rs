//! A part of all traces, whole: a span stays when the randomness of its trace reaches the threshold of its service. Whoever
//! samples the same trace by the same rule, before or after, keeps the same ones (OpenTelemetry's consistent probability
//! sampling).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};
use model::{Batch, Table};
use serde::Deserialize;

use super::columns::{column, kept, labels, of_labels, with_columns};
use super::threshold::{Randomness, Threshold};
use super::trace_state;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    percentage: Threshold,
    #[serde(default)]
    services: BTreeMap<String, Threshold>,
    /// Log records, by the trace they name, like its spans. Those that name none stay.
    #[serde(default)]
    logs: bool,
}

impl Config {
    fn threshold(&self, service: &str) -> Threshold {
        *self.services.get(service).unwrap_or(&self.percentage)
    }

    /// The batch without what was not chosen.
    pub(super) fn apply(&self, batch: Batch) -> Batch {
        match batch.table() {
            Table::Spans => self.spans(batch),
            Table::Logs if self.logs => self.logs(batch),
            _ => batch,
        }
    }

    fn spans(&self, batch: Batch) -> Batch {
        let rows = batch.rows();
        let thresholds = of_labels(labels(rows, "service"), |service| self.threshold(service), self.percentage);
        if thresholds.iter().all(|threshold| threshold.keeps_all()) {
            return batch;
        }
        let trace_ids = column(rows, "trace_id").as_fixed_size_binary();
        let states = column(rows, "trace_state").as_string::<i32>();
        let mut marks = Vec::with_capacity(rows.num_rows());
        let mut kept_states = StringBuilder::new();
        for (row, threshold) in thresholds.into_iter().enumerate() {
            let state = states.value(row);
            let told = trace_state::Sampling::of(state);
            let randomness = told.randomness.unwrap_or_else(|| Randomness::of_trace(trace_ids.value(row)));
            let keeps = threshold.keeps(randomness);
            marks.push(keeps);
            if keeps {
                // A stage that keeps everything says nothing, and none takes back what one before it said.
                match told.threshold.unwrap_or_default() < threshold {
                    true => kept_states.append_value(trace_state::with_threshold(state, threshold)),
                    false => kept_states.append_value(state),
                }
            }
        }
        let batch = kept(&batch, marks);
        with_columns(batch, [("trace_state", Arc::new(kept_states.finish()) as _)])
    }

    fn logs(&self, batch: Batch) -> Batch {
        let rows = batch.rows();
        let thresholds = of_labels(labels(rows, "service"), |service| self.threshold(service), self.percentage);
        let trace_ids = column(rows, "trace_id").as_fixed_size_binary();
        let keeps = |(row, threshold): (usize, Threshold)| {
            trace_ids.is_null(row) || threshold.keeps(Randomness::of_trace(trace_ids.value(row)))
        };
        let marks: Vec<bool> = thresholds.into_iter().enumerate().map(keeps).collect();
        match marks.iter().all(|keeps| *keeps) {
            true => batch,
            false => kept(&batch, marks),
        }
    }
}
