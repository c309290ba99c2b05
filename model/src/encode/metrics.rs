//! Rows of the metric tables to data points, each under the metric it belongs to.

use arrow::array::{Array, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::array::{AsArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};

use super::origin::Origins;
use super::rows::{Attributes, Ids, Labels, Rows, Times, items, structs, write_optional_double};
use super::tree::{NodeId, Tree};
use crate::enumeration::{TEMPORALITIES, number};
use crate::json;
use crate::wire::{Writer, sign_extended, zigzag};

/// Fields of `Metric.data`.
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const EXPONENTIAL_HISTOGRAM: u32 = 10;
const SUMMARY: u32 = 11;

pub(super) fn write_numbers(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let (points, exemplars) = (Points::of(rows), Exemplars::of(rows));
    let (kind, temporality) = (rows.labels("type"), rows.labels("temporality"));
    let is_monotonic: &BooleanArray = rows.booleans("is_monotonic");
    let value: &Float64Array = rows.numbers("value");
    let value_int: &Int64Array = rows.numbers("value_int");
    for row in 0..batch.num_rows() {
        let data = match kind.get(row) {
            "gauge" => points.data(row, GAUGE, Vec::new(), tree),
            _ => points.data(row, SUM, sum_head(temporality.get(row), is_monotonic.value(row)), tree),
        };
        tree.record(data, 1, |point| {
            points.write(row, 7, 8, point);
            if value_int.is_valid(row) {
                point.fixed64(6, value_int.value(row) as u64);
            } else {
                write_optional_double(value, row, 4, point);
            }
            exemplars.write(row, 5, point);
        });
    }
}

pub(super) fn write_histograms(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let (points, exemplars, extent) = (Points::of(rows), Exemplars::of(rows), Extent::of(rows));
    let temporality = rows.labels("temporality");
    let (bucket_counts, explicit_bounds) = (rows.list("bucket_counts"), rows.list("explicit_bounds"));
    let counts: &UInt64Array = bucket_counts.values().as_primitive::<UInt64Type>();
    let bounds: &Float64Array = explicit_bounds.values().as_primitive::<Float64Type>();
    for row in 0..batch.num_rows() {
        let data = points.data(row, HISTOGRAM, sum_head(temporality.get(row), false), tree);
        tree.record(data, 1, |point| {
            points.write(row, 9, 10, point);
            extent.write(row, [11, 12], point);
            write_packed_fixed64(6, items(bucket_counts, row).map(|item| counts.value(item)), point);
            write_packed_fixed64(7, items(explicit_bounds, row).map(|item| bounds.value(item).to_bits()), point);
            exemplars.write(row, 8, point);
        });
    }
}

pub(super) fn write_exponential_histograms(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let (points, exemplars, extent) = (Points::of(rows), Exemplars::of(rows), Extent::of(rows));
    let temporality = rows.labels("temporality");
    let scale: &Int32Array = rows.numbers("scale");
    let zero_count: &UInt64Array = rows.numbers("zero_count");
    let zero_threshold: &Float64Array = rows.numbers("zero_threshold");
    let positive = Buckets::of(rows, "positive_offset", "positive_bucket_counts");
    let negative = Buckets::of(rows, "negative_offset", "negative_bucket_counts");
    for row in 0..batch.num_rows() {
        let data = points.data(row, EXPONENTIAL_HISTOGRAM, sum_head(temporality.get(row), false), tree);
        tree.record(data, 1, |point| {
            points.write(row, 1, 10, point);
            extent.write(row, [12, 13], point);
            point.nonzero_varint(6, zigzag(scale.value(row)));
            point.nonzero_fixed64(7, zero_count.value(row));
            positive.write(row, 8, point);
            negative.write(row, 9, point);
            exemplars.write(row, 11, point);
            point.nonzero_double(14, zero_threshold.value(row));
        });
    }
}

pub(super) fn write_summaries(batch: &RecordBatch, tree: &mut Tree) {
    let rows = Rows::of(batch);
    let points = Points::of(rows);
    let count: &UInt64Array = rows.numbers("count");
    let sum: &Float64Array = rows.numbers("sum");
    let quantiles = rows.list("quantiles");
    let quantile: &Float64Array = structs(quantiles).numbers("quantile");
    let value: &Float64Array = structs(quantiles).numbers("value");
    for row in 0..batch.num_rows() {
        let data = points.data(row, SUMMARY, Vec::new(), tree);
        tree.record(data, 1, |point| {
            points.write(row, 7, 8, point);
            point.nonzero_fixed64(4, count.value(row));
            point.nonzero_double(5, sum.value(row));
            for item in items(quantiles, row) {
                point.message(6, |entry| {
                    entry.nonzero_double(1, quantile.value(item));
                    entry.nonzero_double(2, value.value(item));
                });
            }
        });
    }
}

/// Temporality and monotony have the same numbers in every type that has them.
fn sum_head(temporality: &str, is_monotonic: bool) -> Vec<u8> {
    let mut head = Writer::default();
    head.nonzero_varint(2, sign_extended(number(TEMPORALITIES, temporality)));
    head.nonzero_varint(3, is_monotonic.into());
    head.into_bytes()
}

fn write_packed_fixed64(number: u32, values: impl ExactSizeIterator<Item = u64>, out: &mut Writer) {
    if values.len() > 0 {
        out.message(number, |packed| values.for_each(|value| packed.raw(&value.to_le_bytes())));
    }
}

/// What every point has.
struct Points<'a> {
    origins: Origins<'a>,
    name: Labels<'a>,
    description: Labels<'a>,
    unit: Labels<'a>,
    metadata: &'a StringArray,
    start_time: Times<'a>,
    time: Times<'a>,
    attributes: Attributes<'a>,
    flags: &'a UInt32Array,
}

impl<'a> Points<'a> {
    fn of(rows: Rows<'a>) -> Points<'a> {
        Points {
            origins: Origins::of(rows),
            name: rows.labels("name"),
            description: rows.labels("description"),
            unit: rows.labels("unit"),
            metadata: rows.text("metadata"),
            start_time: rows.times("start_time"),
            time: rows.times("time"),
            attributes: rows.attributes("attributes", "attribute_types"),
            flags: rows.numbers("flags"),
        }
    }

    /// The `Gauge`, `Sum`, … that the point of `row` belongs in.
    fn data(&self, row: usize, field: u32, head: Vec<u8>, tree: &mut Tree) -> NodeId {
        let scope = self.origins.scope(row, tree);
        let mut metric = Writer::default();
        metric.nonempty_bytes(1, self.name.get(row).as_bytes());
        metric.nonempty_bytes(2, self.description.get(row).as_bytes());
        metric.nonempty_bytes(3, self.unit.get(row).as_bytes());
        if self.metadata.is_valid(row) {
            json::list_to_wire(self.metadata.value(row), &json::METADATA, &mut metric);
        }
        // A metric has one kind of data: equal names with other data are other metrics.
        let mut kind = head.clone();
        kind.push(field as u8);
        let metric = tree.node_of_kind(Some(scope), 2, metric.into_bytes(), kind);
        tree.node(Some(metric), field, head)
    }

    fn write(&self, row: usize, attributes: u32, flags: u32, point: &mut Writer) {
        point.nonzero_fixed64(2, self.start_time.get(row));
        point.nonzero_fixed64(3, self.time.get(row));
        self.attributes.write(row, attributes, point);
        point.nonzero_varint(flags, self.flags.value(row).into());
    }
}

/// Count and sum of a histogram, and its smallest and largest value.
struct Extent<'a> {
    count: &'a UInt64Array,
    sum: &'a Float64Array,
    min: &'a Float64Array,
    max: &'a Float64Array,
}

impl<'a> Extent<'a> {
    fn of(rows: Rows<'a>) -> Extent<'a> {
        Extent {
            count: rows.numbers("count"),
            sum: rows.numbers("sum"),
            min: rows.numbers("min"),
            max: rows.numbers("max"),
        }
    }

    fn write(&self, row: usize, [min, max]: [u32; 2], point: &mut Writer) {
        point.nonzero_fixed64(4, self.count.value(row));
        write_optional_double(self.sum, row, 5, point);
        write_optional_double(self.min, row, min, point);
        write_optional_double(self.max, row, max, point);
    }
}

/// The exponential buckets of one sign.
struct Buckets<'a> {
    offset: &'a Int32Array,
    list: &'a ListArray,
    counts: &'a UInt64Array,
}

impl<'a> Buckets<'a> {
    fn of(rows: Rows<'a>, offset: &str, counts: &str) -> Buckets<'a> {
        let list = rows.list(counts);
        Buckets { offset: rows.numbers(offset), list, counts: list.values().as_primitive::<UInt64Type>() }
    }

    fn write(&self, row: usize, number: u32, point: &mut Writer) {
        if self.offset.is_null(row) {
            return;
        }
        point.message(number, |buckets| {
            buckets.nonzero_varint(1, zigzag(self.offset.value(row)));
            let counts = items(self.list, row);
            if !counts.is_empty() {
                buckets.message(2, |packed| counts.for_each(|item| packed.raw_varint(self.counts.value(item))));
            }
        });
    }
}

struct Exemplars<'a> {
    list: &'a ListArray,
    time: Times<'a>,
    value_double: &'a Float64Array,
    value_int: &'a Int64Array,
    trace_id: Ids<'a>,
    span_id: Ids<'a>,
    attributes: Attributes<'a>,
}

impl<'a> Exemplars<'a> {
    fn of(rows: Rows<'a>) -> Exemplars<'a> {
        let list = rows.list("exemplars");
        let exemplars = structs(list);
        Exemplars {
            list,
            time: exemplars.times("time"),
            value_double: exemplars.numbers("value_double"),
            value_int: exemplars.numbers("value_int"),
            trace_id: exemplars.ids("trace_id"),
            span_id: exemplars.ids("span_id"),
            attributes: exemplars.attributes("attributes", "attribute_types"),
        }
    }

    fn write(&self, row: usize, number: u32, point: &mut Writer) {
        for item in items(self.list, row) {
            point.message(number, |exemplar| {
                exemplar.nonzero_fixed64(2, self.time.get(item));
                write_optional_double(self.value_double, item, 3, exemplar);
                self.span_id.write(item, 4, exemplar);
                self.trace_id.write(item, 5, exemplar);
                if self.value_int.is_valid(item) {
                    exemplar.fixed64(6, self.value_int.value(item) as u64);
                }
                self.attributes.write(item, 7, exemplar);
            });
        }
    }
}
