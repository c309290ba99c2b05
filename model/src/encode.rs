//! Arrow to OTLP: records of equal resource and scope share an envelope, points of equal metrics share a metric.

mod logs;
mod metrics;
mod origin;
mod rows;
mod spans;
mod tree;

use crate::json;
use crate::{Batch, Signal, Table};
use tree::Tree;

/// One OTLP/JSON export request. Batches of other signals are left out.
pub fn encode_json(signal: Signal, batches: &[Batch]) -> serde_json::Value {
    json::request_from_wire(signal, &encode_protobuf(signal, batches))
}

/// The same request as protobuf.
pub fn encode_protobuf(signal: Signal, batches: &[Batch]) -> Vec<u8> {
    let mut tree = Tree::default();
    for batch in batches.iter().filter(|batch| batch.table().signal() == signal) {
        match batch.table() {
            Table::Spans => spans::write(batch.rows(), &mut tree),
            Table::Logs => logs::write(batch.rows(), &mut tree),
            Table::Metrics => metrics::write_numbers(batch.rows(), &mut tree),
            Table::MetricHistograms => metrics::write_histograms(batch.rows(), &mut tree),
            Table::MetricExponentialHistograms => metrics::write_exponential_histograms(batch.rows(), &mut tree),
            Table::MetricSummaries => metrics::write_summaries(batch.rows(), &mut tree),
        }
    }
    tree.into_request()
}
