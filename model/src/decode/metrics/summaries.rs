//! Points of summaries to rows of `metric_summaries`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, UInt64Builder};

use crate::columns::{Assembly, Lists};
use crate::decode::points::{Head, Point, PointColumns};
use crate::schema::quantile_fields;
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

pub(super) const QUANTILES: u32 = 6;
const ATTRIBUTES: u32 = 7;

#[derive(Default)]
pub(super) struct Summaries {
    pub(super) points: PointColumns,
    count: UInt64Builder,
    sum: Float64Builder,
    lists: Lists,
    quantile: Float64Builder,
    value: Float64Builder,
}

impl Summaries {
    pub(super) fn push(&mut self, message: Message<'_>, head: &Head<'_>) -> Result<(), DecodeError> {
        let (mut point, mut count, mut sum) = (Point::default(), 0, 0.0);
        let mut fields = message;
        while let Some(field) = fields.next()? {
            match field.number {
                2 => point.start_time = field.fixed64()?,
                3 => point.time = field.fixed64()?,
                4 => count = field.fixed64()?,
                5 => sum = field.double()?,
                QUANTILES => self.push_quantile(field.message()?)?,
                8 => point.flags = field.uint32()?,
                _ => {}
            }
        }
        self.points.push(head, point, message, ATTRIBUTES)?;
        self.count.append_value(count);
        self.sum.append_value(sum);
        self.lists.close(self.quantile.values_slice().len());
        Ok(())
    }

    fn push_quantile(&mut self, mut message: Message<'_>) -> Result<(), DecodeError> {
        let (mut quantile, mut value) = (0.0, 0.0);
        while let Some(field) = message.next()? {
            match field.number {
                1 => quantile = field.double()?,
                2 => value = field.double()?,
                _ => {}
            }
        }
        self.quantile.append_value(quantile);
        self.value.append_value(value);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Option<Batch> {
        if self.points.is_empty() {
            return None;
        }
        let mut assembly = Assembly::new(Table::MetricSummaries);
        self.points.finish(&mut assembly);
        let quantiles: Vec<ArrayRef> = vec![Arc::new(self.quantile.finish()), Arc::new(self.value.finish())];
        let columns: [(&str, ArrayRef); 3] = [
            ("count", Arc::new(self.count.finish())),
            ("sum", Arc::new(self.sum.finish())),
            ("quantiles", Arc::new(self.lists.finish_structs(quantile_fields(), quantiles))),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        Some(assembly.finish())
    }
}
