//! A table as SQL shows it: the stored one with ids as text. It is a projection that the planner inlines, so filters,
//! projections and limits reach the stored table, and only what a question asks for is spelled.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_err;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, col};
use datafusion::physical_plan::ExecutionPlan;

use crate::hex_ids::{hex_ids, text_type};

#[derive(Debug)]
pub(crate) struct TextTable {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TextTable {
    pub(crate) fn new(name: &str, stored: Arc<dyn TableProvider>) -> Result<TextTable> {
        let bytes = stored.schema();
        let spell = hex_ids();
        let columns: Vec<Expr> = bytes.fields().iter().map(|field| shown(field, &spell)).collect();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(stored), None)?.project(columns)?.build()?;
        Ok(TextTable { schema: text_schema(&bytes), plan })
    }
}

/// The columns of a stored table as SQL shows them.
pub(crate) fn text_schema(bytes: &Schema) -> SchemaRef {
    let fields = bytes.fields().iter();
    Arc::new(Schema::new(
        fields
            .map(|field| Field::new(field.name(), text_type(field.data_type()), field.is_nullable()))
            .collect::<Vec<_>>(),
    ))
}

fn shown(field: &Field, spell: &ScalarUDF) -> Expr {
    match text_type(field.data_type()) == *field.data_type() {
        true => col(field.name()),
        false => spell.call(vec![col(field.name())]).alias(field.name()),
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("the planner replaces this table by its projection")
    }
}
