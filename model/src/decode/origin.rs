//! Resource and scope: read once a scope, copied to every row of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Builder};

use crate::DecodeError;
use crate::attributes::Attributes;
use crate::columns::{Assembly, Labels, OptionalText, Text};
use crate::json;
use crate::wire::Message;

const SERVICE_NAME: &str = "service.name";

/// One row of the origin columns.
pub(super) struct Origin {
    service: Vec<u8>,
    resource: Attributes,
    resource_dropped: u32,
    resource_schema_url: Text,
    entity_refs: OptionalText,
    scope_name: Vec<u8>,
    scope_version: Vec<u8>,
    scope_attributes: Attributes,
    scope_dropped: u32,
    scope_schema_url: Text,
}

impl Origin {
    /// From a `Resource` and an `InstrumentationScope`, each with the schema URL that stands beside it.
    pub(super) fn read(
        (resource, resource_schema_url): (Message<'_>, &[u8]),
        (scope, scope_schema_url): (Message<'_>, &[u8]),
    ) -> Result<Origin, DecodeError> {
        let mut origin = Origin {
            service: Vec::new(),
            resource: Attributes::default(),
            resource_dropped: 0,
            resource_schema_url: one(resource_schema_url),
            entity_refs: OptionalText::default(),
            scope_name: Vec::new(),
            scope_version: Vec::new(),
            scope_attributes: Attributes::default(),
            scope_dropped: 0,
            scope_schema_url: one(scope_schema_url),
        };
        origin.read_resource(resource)?;
        origin.read_scope(scope)?;
        Ok(origin)
    }

    fn read_resource(&mut self, resource: Message<'_>) -> Result<(), DecodeError> {
        self.resource.push(resource, 1)?;
        self.service = self.resource.get(0, SERVICE_NAME).unwrap_or_default().to_vec();
        let entity_refs = json::list_from_wire(resource, &json::ENTITY_REFS)?;
        self.entity_refs.push(entity_refs.as_deref().map(str::as_bytes));
        let mut fields = resource;
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                self.resource_dropped = field.uint32()?;
            }
        }
        Ok(())
    }

    fn read_scope(&mut self, scope: Message<'_>) -> Result<(), DecodeError> {
        self.scope_attributes.push(scope, 3)?;
        let mut fields = scope;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => self.scope_name = field.bytes()?.to_vec(),
                2 => self.scope_version = field.bytes()?.to_vec(),
                4 => self.scope_dropped = field.uint32()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes one copy may take. A label is held once, but whoever takes it out of its dictionary has it once a row.
    pub(super) fn bytes(&self) -> usize {
        let labels = self.service.len() + self.scope_name.len() + self.scope_version.len();
        let urls = self.resource_schema_url.bytes() + self.scope_schema_url.bytes();
        self.resource.bytes() + self.scope_attributes.bytes() + self.entity_refs.bytes() + urls + labels
    }
}

fn one(value: &[u8]) -> Text {
    let mut text = Text::default();
    text.push(value);
    text
}

/// The origin columns of a table, and its service.
#[derive(Default)]
pub(super) struct OriginColumns {
    rows: usize,
    service: Labels,
    resource: Attributes,
    resource_dropped: UInt32Builder,
    resource_schema_url: Text,
    entity_refs: OptionalText,
    scope_name: Labels,
    scope_version: Labels,
    scope_attributes: Attributes,
    scope_dropped: UInt32Builder,
    scope_schema_url: Text,
}

impl OriginColumns {
    /// Appends `origin` until there are `rows` rows.
    pub(super) fn fill(&mut self, rows: usize, origin: &Origin) {
        let times = rows - self.rows;
        if times == 0 {
            return;
        }
        self.rows = rows;
        self.service.push_times(&origin.service, times);
        self.resource.copy(&origin.resource, times);
        self.resource_dropped.append_value_n(origin.resource_dropped, times);
        self.resource_schema_url.copy(&origin.resource_schema_url, times);
        self.entity_refs.copy(&origin.entity_refs, times);
        self.scope_name.push_times(&origin.scope_name, times);
        self.scope_version.push_times(&origin.scope_version, times);
        self.scope_attributes.copy(&origin.scope_attributes, times);
        self.scope_dropped.append_value_n(origin.scope_dropped, times);
        self.scope_schema_url.copy(&origin.scope_schema_url, times);
    }

    pub(super) fn finish(mut self, assembly: &mut Assembly) {
        let (resource, resource_types) = self.resource.finish();
        let (scope_attributes, scope_attribute_types) = self.scope_attributes.finish();
        let columns: [(&str, ArrayRef); 12] = [
            ("service", Arc::new(self.service.finish())),
            ("resource", resource),
            ("resource_types", resource_types),
            ("resource_dropped_attributes_count", Arc::new(self.resource_dropped.finish())),
            ("resource_schema_url", Arc::new(self.resource_schema_url.finish())),
            ("resource_entity_refs", Arc::new(self.entity_refs.finish())),
            ("scope_name", Arc::new(self.scope_name.finish())),
            ("scope_version", Arc::new(self.scope_version.finish())),
            ("scope_attributes", scope_attributes),
            ("scope_attribute_types", scope_attribute_types),
            ("scope_dropped_attributes_count", Arc::new(self.scope_dropped.finish())),
            ("scope_schema_url", Arc::new(self.scope_schema_url.finish())),
        ];
        columns.into_iter().for_each(|(name, column)| assembly.set(name, column));
    }
}
