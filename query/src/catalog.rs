//! What a question can name: `public` (tables with ids as text, the views, `column_docs`) and `stored` (the same tables with
//! ids as bytes, as they rest).

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::error::Result;
use model::Table;

use crate::moment::Moment;
use crate::stored::StoredTable;
use crate::text_table::{TextTable, text_schema};
use crate::views::{VIEWS, View, ViewTable};

pub(crate) const CATALOG: &str = "faultline";
pub(crate) const PUBLIC: &str = "public";
const STORED: &str = "stored";

/// A view whose columns are known.
pub(crate) type PlannedView = (&'static View, SchemaRef);

/// Everything there is, at one moment.
pub(crate) fn catalog(
    moment: Arc<Moment>,
    views: &[PlannedView],
    column_docs: Option<Arc<dyn TableProvider>>,
) -> Result<Arc<dyn CatalogProviderList>> {
    let (public, stored) = (MemorySchemaProvider::new(), MemorySchemaProvider::new());
    for table in Table::ALL {
        let rows: Arc<dyn TableProvider> = Arc::new(StoredTable::new(table, Arc::clone(&moment)));
        let text = TextTable::new(table.name(), Arc::clone(&rows))?;
        stored.register_table(table.name().to_owned(), rows)?;
        public.register_table(table.name().to_owned(), Arc::new(text))?;
    }
    for (view, schema) in views {
        public.register_table(view.name.to_owned(), Arc::new(ViewTable::new(view, Arc::clone(schema))))?;
    }
    if let Some(column_docs) = column_docs {
        public.register_table("column_docs".to_owned(), column_docs)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(PUBLIC, Arc::new(public))?;
    catalog.register_schema(STORED, Arc::new(stored))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

/// `column_docs`: what every column of every table and view means.
pub(crate) fn column_docs(views: &[PlannedView]) -> Result<Arc<dyn TableProvider>> {
    let mut rows: Vec<(&str, String, String, bool, &str)> = Vec::new();
    for table in Table::ALL {
        let shown = text_schema(table.schema());
        for (field, column) in shown.fields().iter().zip(table.columns()) {
            rows.push((
                table.name(),
                field.name().clone(),
                field.data_type().to_string(),
                field.is_nullable(),
                column.doc,
            ));
        }
    }
    for (view, schema) in views {
        for field in schema.fields() {
            let doc = view.doc(field.name()).unwrap_or_default();
            rows.push((view.name, field.name().clone(), field.data_type().to_string(), field.is_nullable(), doc));
        }
    }
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![
        text("table_name"),
        text("column_name"),
        text("type"),
        Field::new("nullable", DataType::Boolean, false),
        text("doc"),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.2))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.3)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.4))),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// The views with their columns, learnt by planning each once.
pub(crate) async fn plan_views(session: &datafusion::execution::SessionState) -> Result<Vec<PlannedView>> {
    let mut planned = Vec::with_capacity(VIEWS.len());
    for view in &VIEWS {
        let plan = view.plan(session, crate::bounds::Bounds::ALL).await?;
        planned.push((view, Arc::clone(plan.schema().inner())));
    }
    Ok(planned)
}
