//! Resource and scope: each read once, copied to every row of the scope.

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
    scope: Scope,
}

/// The part that changes while the resource stays.
#[derive(Default)]
struct Scope {
    name: Vec<u8>,
    version: Vec<u8>,
    attributes: Attributes,
    dropped: u32,
    schema_url: Text,
}

impl Origin {
    /// From a `Resource` and the schema URL that stands beside it; not yet in a scope.
    pub(super) fn of_resource(resource: Message<'_>, schema_url: &[u8]) -> Result<Origin, DecodeError> {
        let mut origin = Origin {
            service: Vec::new(),
            resource: Attributes::default(),
            resource_dropped: 0,
            resource_schema_url: one(schema_url),
            entity_refs: OptionalText::default(),
            scope: Scope::default(),
        };
        origin.resource.push(resource, 1)?;
        origin.service = origin.resource.get(0, SERVICE_NAME).unwrap_or_default().to_vec();
        let entity_refs = json::list_from_wire(resource, &json::ENTITY_REFS)?;
        origin.entity_refs.push(entity_refs.as_deref().map(str::as_bytes));
        let mut fields = resource;
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                origin.resource_dropped = field.uint32()?;
            }
        }
        Ok(origin)
    }

    /// Leaves the scope before, for an `InstrumentationScope` and its schema URL. The resource is not read again: it may be
    /// a megabyte, and its scopes half a million.
    pub(super) fn enter(&mut self, scope: Message<'_>, schema_url: &[u8]) -> Result<(), DecodeError> {
        self.scope = Scope { schema_url: one(schema_url), ..Scope::default() };
        self.scope.attributes.push(scope, 3)?;
        let mut fields = scope;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => self.scope.name = field.bytes()?.to_vec(),
                2 => self.scope.version = field.bytes()?.to_vec(),
                4 => self.scope.dropped = field.uint32()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes one copy may take. A label is held once, but whoever takes it out of its dictionary has it once a row.
    pub(super) fn bytes(&self) -> usize {
        let labels = self.service.len() + self.scope.name.len() + self.scope.version.len();
        let urls = self.resource_schema_url.bytes() + self.scope.schema_url.bytes();
        self.resource.bytes() + self.scope.attributes.bytes() + self.entity_refs.bytes() + urls + labels
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
        self.scope_name.push_times(&origin.scope.name, times);
        self.scope_version.push_times(&origin.scope.version, times);
        self.scope_attributes.copy(&origin.scope.attributes, times);
        self.scope_dropped.append_value_n(origin.scope.dropped, times);
        self.scope_schema_url.copy(&origin.scope.schema_url, times);
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
