//! The envelopes of a row: its resource and its scope.

use arrow::array::{Array, StringArray, UInt32Array};

use super::rows::{Attributes, Labels, Rows};
use super::tree::{NodeId, Tree};
use crate::json;
use crate::wire::Writer;

pub(super) struct Origins<'a> {
    resource: Attributes<'a>,
    resource_dropped: &'a UInt32Array,
    resource_schema_url: &'a StringArray,
    entity_refs: &'a StringArray,
    scope_name: Labels<'a>,
    scope_version: Labels<'a>,
    scope_attributes: Attributes<'a>,
    scope_dropped: &'a UInt32Array,
    scope_schema_url: &'a StringArray,
}

impl<'a> Origins<'a> {
    pub(super) fn of(rows: Rows<'a>) -> Origins<'a> {
        Origins {
            resource: rows.attributes("resource", "resource_types"),
            resource_dropped: rows.numbers("resource_dropped_attributes_count"),
            resource_schema_url: rows.text("resource_schema_url"),
            entity_refs: rows.text("resource_entity_refs"),
            scope_name: rows.labels("scope_name"),
            scope_version: rows.labels("scope_version"),
            scope_attributes: rows.attributes("scope_attributes", "scope_attribute_types"),
            scope_dropped: rows.numbers("scope_dropped_attributes_count"),
            scope_schema_url: rows.text("scope_schema_url"),
        }
    }

    /// The `ScopeSpans`, `ScopeLogs` or `ScopeMetrics` that `row` belongs in.
    pub(super) fn scope(&self, row: usize, tree: &mut Tree) -> NodeId {
        let resource = tree.node(None, 1, self.resource_head(row));
        tree.node(Some(resource), 2, self.scope_head(row))
    }

    fn resource_head(&self, row: usize) -> Vec<u8> {
        head(self.resource_schema_url.value(row), |resource| {
            self.resource.write(row, 1, resource);
            resource.nonzero_varint(2, self.resource_dropped.value(row).into());
            if self.entity_refs.is_valid(row) {
                json::list_to_wire(self.entity_refs.value(row), &json::ENTITY_REFS, resource);
            }
        })
    }

    fn scope_head(&self, row: usize) -> Vec<u8> {
        head(self.scope_schema_url.value(row), |scope| {
            scope.nonempty_bytes(1, self.scope_name.get(row).as_bytes());
            scope.nonempty_bytes(2, self.scope_version.get(row).as_bytes());
            self.scope_attributes.write(row, 3, scope);
            scope.nonzero_varint(4, self.scope_dropped.value(row).into());
        })
    }
}

/// A message in field 1 and its schema URL in field 3, each unless empty.
fn head(schema_url: &str, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let (mut out, mut message) = (Writer::default(), Writer::default());
    write(&mut message);
    out.nonempty_bytes(1, &message.into_bytes());
    out.nonempty_bytes(3, schema_url.as_bytes());
    out.into_bytes()
}
