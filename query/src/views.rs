//! The standing questions, one SQL file each in `views/`.
//!
//! A view says where the bounds of `time` belong: `$from` and `$to` (nanosecond timestamps, inclusive) are filled in from the
//! question's own predicate on the view's column `time`, on every table the view reads. That is why
//! `WHERE time > now() - INTERVAL '5 minutes'` opens only the files of those minutes, on both sides of a join. `$from_skewed`
//! is `$from` less an allowance for clocks that disagree. The predicate itself is applied to the result as well, so what the
//! parameters let through too much is gone.
//!
//! A file starts with its documentation: one line for the view, then one `-- column: meaning` for each column.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ParamValues, ScalarValue, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, ident};
use datafusion::physical_plan::ExecutionPlan;

use crate::bounds::Bounds;

/// The widest bucket a view makes, in nanoseconds: rows up to this much after the last bucket's start belong to it.
const BUCKET: i64 = 60_000_000_000;
/// How far the clocks of two machines may disagree before a view loses the answer to a call, in nanoseconds.
const SKEW: i64 = 60_000_000_000;

/// A standing question.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

pub(crate) const VIEWS: [View; 4] = [
    View { name: "service_red", sql: include_str!("../views/service_red.sql") },
    View { name: "dependencies", sql: include_str!("../views/dependencies.sql") },
    View { name: "slow_traces", sql: include_str!("../views/slow_traces.sql") },
    View { name: "errors", sql: include_str!("../views/errors.sql") },
];

impl View {
    /// What the file says about `column`.
    pub(crate) fn doc(&self, column: &str) -> Option<&'static str> {
        let lines = self.sql.lines().map_while(|line| line.strip_prefix("-- "));
        lines.filter_map(|line| line.split_once(": ")).find_map(|(name, doc)| (name == column).then_some(doc))
    }

    /// The view's plan for a window of time.
    pub(crate) async fn plan(&self, session: &SessionState, bounds: Bounds) -> Result<LogicalPlan> {
        let time = |at| ScalarValue::TimestampNanosecond(Some(at), Some("UTC".into()));
        let parameters = vec![
            ("from", time(bounds.from)),
            ("from_skewed", time(bounds.from.saturating_sub(SKEW))),
            ("to", time(bounds.to.saturating_add(BUCKET))),
        ];
        session.create_logical_plan(self.sql).await?.with_param_values(ParamValues::from(parameters))
    }
}

/// A view with its columns, as a table.
#[derive(Debug)]
pub(crate) struct ViewTable {
    view: &'static View,
    schema: SchemaRef,
}

impl ViewTable {
    pub(crate) fn new(view: &'static View, schema: SchemaRef) -> ViewTable {
        ViewTable { view, schema }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(self.view.sql)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| crate::stored::pushdown(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = session
            .as_any()
            .downcast_ref::<SessionState>()
            .ok_or_else(|| internal_datafusion_err!("a session that cannot plan SQL"))?;
        let filters = unnormalize_cols(filters.iter().cloned());
        let view = self.view.plan(state, Bounds::of(&filters)).await?;
        let mut plan = LogicalPlanBuilder::from(view).alias(self.view.name)?;
        if let Some(filter) = conjunction(filters) {
            plan = plan.filter(filter)?;
        }
        if let Some(projection) = projection {
            plan = plan.project(projection.iter().map(|column| ident(self.schema.field(*column).name())))?;
        }
        let plan = plan.limit(0, limit)?.build()?;
        // The rules that shape physical plans run once, over the whole plan this becomes a part of; not all bear a second run.
        let unshaped = SessionStateBuilder::new_from_existing(state.clone()).with_physical_optimizer_rules(Vec::new());
        unshaped.build().create_physical_plan(&plan).await
    }
}
