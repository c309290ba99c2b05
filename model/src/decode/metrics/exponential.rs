//! Points of exponential histograms to rows of `metric_exponential_histograms`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int32Builder, UInt64Builder};

use super::Kind;
use crate::columns::{Assembly, Labels, Lists};
use crate::decode::exemplars::Exemplars;
use crate::decode::points::{Head, Point, PointColumns};
use crate::enumeration::{TEMPORALITIES, spell};
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

pub(super) const EXEMPLARS: u32 = 11;
const ATTRIBUTES: u32 = 1;

#[derive(Default)]
pub(super) struct ExponentialHistograms {
    pub(super) points: PointColumns,
    count: UInt64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    scale: Int32Builder,
    zero_count: UInt64Builder,
    zero_threshold: Float64Builder,
    positive: Buckets,
    negative: Buckets,
    temporality: Labels,
    exemplars: Exemplars,
}

impl ExponentialHistograms {
    pub(super) fn push(&mut self, message: Message<'_>, head: &Head<'_>, kind: Kind) -> Result<(), DecodeError> {
        let (mut point, mut count, mut scale, mut exemplars) = (Point::default(), 0, 0, 0);
        let (mut sum, mut min, mut max) = (None, None, None);
        let (mut zero_count, mut zero_threshold) = (0, 0.0);
        let (mut positive, mut negative) = (None, None);
        let mut fields = message;
        while let Some(field) = fields.next()? {
            match field.number {
                2 => point.start_time = field.fixed64()?,
                3 => point.time = field.fixed64()?,
                4 => count = field.fixed64()?,
                5 => sum = Some(field.double()?),
                6 => scale = field.sint32()?,
                7 => zero_count = field.fixed64()?,
                8 => positive = Some(field.message()?),
                9 => negative = Some(field.message()?),
                10 => point.flags = field.uint32()?,
                EXEMPLARS => exemplars += 1,
                12 => min = Some(field.double()?),
                13 => max = Some(field.double()?),
                14 => zero_threshold = field.double()?,
                _ => {}
            }
        }
        self.points.push(head, point, message, ATTRIBUTES)?;
        self.count.append_value(count);
        self.sum.append_option(sum);
        self.min.append_option(min);
        self.max.append_option(max);
        self.scale.append_value(scale);
        self.zero_count.append_value(zero_count);
        self.zero_threshold.append_value(zero_threshold);
        self.positive.push(positive)?;
        self.negative.push(negative)?;
        self.temporality.push(spell(TEMPORALITIES, kind.temporality).as_bytes());
        self.exemplars.push(message, EXEMPLARS, exemplars)
    }

    pub(super) fn finish(mut self) -> Option<Batch> {
        if self.points.is_empty() {
            return None;
        }
        let mut assembly = Assembly::new(Table::MetricExponentialHistograms);
        self.points.finish(&mut assembly);
        let (positive_offset, positive_counts) = self.positive.finish();
        let (negative_offset, negative_counts) = self.negative.finish();
        let columns: [(&str, ArrayRef); 13] = [
            ("count", Arc::new(self.count.finish())),
            ("sum", Arc::new(self.sum.finish())),
            ("min", Arc::new(self.min.finish())),
            ("max", Arc::new(self.max.finish())),
            ("scale", Arc::new(self.scale.finish())),
            ("zero_count", Arc::new(self.zero_count.finish())),
            ("zero_threshold", Arc::new(self.zero_threshold.finish())),
            ("positive_offset", positive_offset),
            ("positive_bucket_counts", positive_counts),
            ("negative_offset", negative_offset),
            ("negative_bucket_counts", negative_counts),
            ("temporality", Arc::new(self.temporality.finish())),
            ("exemplars", self.exemplars.finish()),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        Some(assembly.finish())
    }
}

/// The buckets of one sign: an offset, null when there are none, and counts.
#[derive(Default)]
struct Buckets {
    offset: Int32Builder,
    lists: Lists,
    counts: UInt64Builder,
}

impl Buckets {
    fn push(&mut self, buckets: Option<Message<'_>>) -> Result<(), DecodeError> {
        let mut offset = buckets.map(|_| 0);
        let mut fields = buckets.unwrap_or(Message::new(&[]));
        while let Some(field) = fields.next()? {
            match field.number {
                1 => offset = Some(field.sint32()?),
                2 => field.each_varint(|count| self.counts.append_value(count))?,
                _ => {}
            }
        }
        self.offset.append_option(offset);
        self.lists.close(self.counts.values_slice().len());
        Ok(())
    }

    fn finish(mut self) -> (ArrayRef, ArrayRef) {
        let counts = self.lists.finish(Arc::new(self.counts.finish()));
        (Arc::new(self.offset.finish()), Arc::new(counts))
    }
}
