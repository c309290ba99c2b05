//! Points of gauges and sums to rows of `metrics`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder};

use super::{GAUGE, Kind};
use crate::columns::{Assembly, Labels};
use crate::decode::exemplars::{Exemplars, Number};
use crate::decode::points::{Head, Point, PointColumns};
use crate::enumeration::{TEMPORALITIES, spell};
use crate::wire::Message;
use crate::{Batch, DecodeError, Table};

pub(super) const EXEMPLARS: u32 = 5;
const ATTRIBUTES: u32 = 7;

#[derive(Default)]
pub(super) struct Numbers {
    pub(super) points: PointColumns,
    kind: Labels,
    value: Float64Builder,
    value_int: Int64Builder,
    is_monotonic: BooleanBuilder,
    temporality: Labels,
    exemplars: Exemplars,
}

impl Numbers {
    pub(super) fn push(&mut self, message: Message<'_>, head: &Head<'_>, kind: Kind) -> Result<(), DecodeError> {
        let (mut point, mut value, mut exemplars) = (Point::default(), Number::None, 0);
        let mut fields = message;
        while let Some(field) = fields.next()? {
            match field.number {
                2 => point.start_time = field.fixed64()?,
                3 => point.time = field.fixed64()?,
                4 => value = Number::double(field)?,
                EXEMPLARS => exemplars += 1,
                6 => value = Number::int(field)?,
                8 => point.flags = field.uint32()?,
                _ => {}
            }
        }
        self.points.push(head, point, message, ATTRIBUTES)?;
        self.value.append_option(value.as_double().or(value.as_int().map(|int| int as f64)));
        self.value_int.append_option(value.as_int());
        self.is_monotonic.append_value(kind.is_monotonic);
        if kind.data == GAUGE {
            self.kind.push(b"gauge");
            self.temporality.push_null();
        } else {
            self.kind.push(b"sum");
            self.temporality.push(spell(TEMPORALITIES, kind.temporality).as_bytes());
        }
        self.exemplars.push(message, EXEMPLARS, exemplars)
    }

    pub(super) fn finish(mut self) -> Option<Batch> {
        if self.points.is_empty() {
            return None;
        }
        let mut assembly = Assembly::new(Table::Metrics);
        self.points.finish(&mut assembly);
        let columns: [(&str, ArrayRef); 6] = [
            ("type", Arc::new(self.kind.finish())),
            ("value", Arc::new(self.value.finish())),
            ("value_int", Arc::new(self.value_int.finish())),
            ("is_monotonic", Arc::new(self.is_monotonic.finish())),
            ("temporality", Arc::new(self.temporality.finish())),
            ("exemplars", self.exemplars.finish()),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        Some(assembly.finish())
    }
}
