//! The `exemplars` column of the metric tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder};

use super::valid_id;
use crate::DecodeError;
use crate::attributes::Attributes;
use crate::columns::{Lists, SpanIds, Times, TraceIds};
use crate::schema::exemplar_fields;
use crate::wire::{Field, Message};

#[derive(Default)]
pub(super) struct Exemplars {
    lists: Lists,
    time: Times,
    value_double: Float64Builder,
    value_int: Int64Builder,
    trace_id: TraceIds,
    span_id: SpanIds,
    attributes: Attributes,
}

/// The value of a point or exemplar: a double, an integer, or none.
#[derive(Clone, Copy, Default)]
pub(super) enum Number {
    #[default]
    None,
    Double(f64),
    Int(i64),
}

impl Number {
    pub(super) fn double(field: Field<'_>) -> Result<Number, DecodeError> {
        Ok(Number::Double(field.double()?))
    }

    pub(super) fn int(field: Field<'_>) -> Result<Number, DecodeError> {
        Ok(Number::Int(field.fixed64()? as i64))
    }

    pub(super) fn as_int(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn as_double(self) -> Option<f64> {
        match self {
            Number::Double(value) => Some(value),
            _ => None,
        }
    }
}

impl Exemplars {
    /// The exemplars of one point: each field `number` of it, `count` in all.
    pub(super) fn push(&mut self, mut point: Message<'_>, number: u32, count: usize) -> Result<(), DecodeError> {
        while count > 0
            && let Some(field) = point.next()?
        {
            if field.number == number {
                self.push_exemplar(field.message()?)?;
            }
        }
        self.lists.close(self.time.len());
        Ok(())
    }

    fn push_exemplar(&mut self, exemplar: Message<'_>) -> Result<(), DecodeError> {
        let (mut time, mut value) = (0, Number::None);
        let (mut trace_id, mut span_id) = (&[][..], &[][..]);
        let mut fields = exemplar;
        while let Some(field) = fields.next()? {
            match field.number {
                2 => time = field.fixed64()?,
                3 => value = Number::double(field)?,
                4 => span_id = field.bytes()?,
                5 => trace_id = field.bytes()?,
                6 => value = Number::int(field)?,
                _ => {}
            }
        }
        self.time.push(time);
        self.value_double.append_option(value.as_double());
        self.value_int.append_option(value.as_int());
        self.trace_id.push(valid_id(trace_id));
        self.span_id.push(valid_id(span_id));
        self.attributes.push(exemplar, 7)
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        let (attributes, types) = self.attributes.finish();
        let columns: Vec<ArrayRef> = vec![
            self.time.finish(),
            Arc::new(self.value_double.finish()),
            Arc::new(self.value_int.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            attributes,
            types,
        ];
        Arc::new(self.lists.finish_structs(exemplar_fields(), columns))
    }
}
