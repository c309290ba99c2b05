//! Points of histograms with explicit bounds to rows of `metric_histograms`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, UInt64Builder};

use super::Kind;
use crate::columns::{Assembly, Labels, Lists};
use crate::decode::exemplars::Exemplars;
use crate::decode::points::{Head, Point, PointColumns};
use crate::enumeration::{TEMPORALITIES, spell};
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

pub(super) const EXEMPLARS: u32 = 8;
const ATTRIBUTES: u32 = 9;

#[derive(Default)]
pub(super) struct Histograms {
    pub(super) points: PointColumns,
    count: UInt64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    bucket_lists: Lists,
    bucket_counts: UInt64Builder,
    bound_lists: Lists,
    explicit_bounds: Float64Builder,
    temporality: Labels,
    exemplars: Exemplars,
}

impl Histograms {
    pub(super) fn push(&mut self, message: Message<'_>, head: &Head<'_>, kind: Kind) -> Result<(), DecodeError> {
        let (mut point, mut count, mut exemplars) = (Point::default(), 0, 0);
        let (mut sum, mut min, mut max) = (None, None, None);
        let mut fields = message;
        while let Some(field) = fields.next()? {
            match field.number {
                2 => point.start_time = field.fixed64()?,
                3 => point.time = field.fixed64()?,
                4 => count = field.fixed64()?,
                5 => sum = Some(field.double()?),
                6 => field.each_fixed64(|count| self.bucket_counts.append_value(count))?,
                7 => field.each_fixed64(|bits| self.explicit_bounds.append_value(f64::from_bits(bits)))?,
                EXEMPLARS => exemplars += 1,
                10 => point.flags = field.uint32()?,
                11 => min = Some(field.double()?),
                12 => max = Some(field.double()?),
                _ => {}
            }
        }
        self.points.push(head, point, message, ATTRIBUTES)?;
        self.count.append_value(count);
        self.sum.append_option(sum);
        self.min.append_option(min);
        self.max.append_option(max);
        self.bucket_lists.close(self.bucket_counts.values_slice().len());
        self.bound_lists.close(self.explicit_bounds.values_slice().len());
        self.temporality.push(spell(TEMPORALITIES, kind.temporality).as_bytes());
        self.exemplars.push(message, EXEMPLARS, exemplars)
    }

    pub(super) fn finish(mut self) -> Option<Batch> {
        if self.points.is_empty() {
            return None;
        }
        let mut assembly = Assembly::new(Table::MetricHistograms);
        self.points.finish(&mut assembly);
        let columns: [(&str, ArrayRef); 8] = [
            ("count", Arc::new(self.count.finish())),
            ("sum", Arc::new(self.sum.finish())),
            ("min", Arc::new(self.min.finish())),
            ("max", Arc::new(self.max.finish())),
            ("bucket_counts", Arc::new(self.bucket_lists.finish(Arc::new(self.bucket_counts.finish())))),
            ("explicit_bounds", Arc::new(self.bound_lists.finish(Arc::new(self.explicit_bounds.finish())))),
            ("temporality", Arc::new(self.temporality.finish())),
            ("exemplars", self.exemplars.finish()),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        Some(assembly.finish())
    }
}
