//! What every metric point has: its metric's description, times, attributes and flags.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Builder};

use super::origin::{Origin, OriginColumns};
use crate::DecodeError;
use crate::attributes::Attributes;
use crate::columns::{Assembly, Labels, OptionalText, Times};
use crate::wire::Message;

/// The parts of a `Metric` that its points repeat.
pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) description: &'a [u8],
    pub(super) unit: &'a [u8],
    /// JSON of the metadata, if any.
    pub(super) metadata: Option<String>,
}

impl Head<'_> {
    /// Bytes one copy may take. A label is held once, but whoever takes it out of its dictionary has it once a point.
    pub(super) fn bytes(&self) -> usize {
        let labels = self.name.len() + self.description.len() + self.unit.len();
        labels + self.metadata.as_ref().map_or(0, String::len)
    }
}

/// The parts of a point that all five types have; `start_time` and `time` have the same numbers in each.
#[derive(Clone, Copy, Default)]
pub(super) struct Point {
    pub(super) start_time: u64,
    pub(super) time: u64,
    pub(super) flags: u32,
}

#[derive(Default)]
pub(super) struct PointColumns {
    time: Times,
    start_time: Times,
    name: Labels,
    description: Labels,
    unit: Labels,
    attributes: Attributes,
    flags: UInt32Builder,
    metadata: OptionalText,
    origin: OriginColumns,
}

impl PointColumns {
    /// `attributes` is the number of the attributes' field in `message`.
    pub(super) fn push(
        &mut self,
        head: &Head<'_>,
        point: Point,
        message: Message<'_>,
        attributes: u32,
    ) -> Result<(), DecodeError> {
        self.time.push(point.time);
        self.start_time.push(point.start_time);
        self.name.push(head.name);
        self.description.push(head.description);
        self.unit.push(head.unit);
        self.attributes.push(message, attributes)?;
        self.flags.append_value(point.flags);
        self.metadata.push(head.metadata.as_deref().map(str::as_bytes));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.time.len() == 0
    }

    pub(super) fn end_scope(&mut self, origin: &Origin) {
        self.origin.fill(self.time.len(), origin);
    }

    pub(super) fn finish(mut self, assembly: &mut Assembly) {
        let (attributes, attribute_types) = self.attributes.finish();
        let columns: [(&str, ArrayRef); 9] = [
            ("time", self.time.finish()),
            ("start_time", self.start_time.finish()),
            ("name", Arc::new(self.name.finish())),
            ("description", Arc::new(self.description.finish())),
            ("unit", Arc::new(self.unit.finish())),
            ("attributes", attributes),
            ("attribute_types", attribute_types),
            ("flags", Arc::new(self.flags.finish())),
            ("metadata", Arc::new(self.metadata.finish())),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
        self.origin.finish(assembly);
    }
}
