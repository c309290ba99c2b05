//! `attributes['key']` where a file has a column for the key: the column is read instead of the map.
//!
//! The store says of each file which attributes have a column; their names are `attributes['key']`, whatever the column in the
//! file is called. Filters are rewritten when a scan is planned, for a filter of a map can never be a filter inside a file. What is
//! asked for besides reaches the scan as an expression later, and is rewritten when a file is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as Name, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapter, PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;

/// The function behind `map['key']`.
const GET: &str = "get_field";

fn name(map: &str, key: &str) -> String {
    format!("{map}['{key}']")
}

/// The attributes that `filters` look at, as `attributes['key']`.
pub(crate) fn asked(filters: &[Expr]) -> Result<BTreeSet<String>> {
    let mut asked = BTreeSet::new();
    for filter in filters {
        filter.apply(|expr| {
            asked.extend(attribute(expr));
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(asked)
}

fn attribute(expr: &Expr) -> Option<String> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    match args.as_slice() {
        [Expr::Column(map), Expr::Literal(key, _)] if func.name() == GET => {
            Some(name(&map.name, key.try_as_str().flatten()?))
        }
        _ => None,
    }
}

/// `filter` with the columns of promoted attributes in their places.
pub(crate) fn with_columns(filter: Expr, promoted: &BTreeSet<String>) -> Result<Expr> {
    let column = |expr: Expr| match attribute(&expr).filter(|name| promoted.contains(name)) {
        Some(name) => Ok(Transformed::yes(Expr::Column(Name::new_unqualified(name)))),
        None => Ok(Transformed::no(expr)),
    };
    filter.transform_down(column).data()
}

/// The columns of a table, then those of promoted attributes.
pub(crate) fn schema(table: &SchemaRef, promoted: &BTreeSet<String>) -> SchemaRef {
    let columns = promoted.iter().map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
    Arc::new(Schema::new(table.fields().iter().cloned().chain(columns).collect::<Vec<_>>()))
}

/// Rewrites the expressions of a scan for each file it opens.
#[derive(Debug)]
pub(crate) struct Promoted;

impl PhysicalExprAdapterFactory for Promoted {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let others = DefaultPhysicalExprAdapter::new(table, Arc::clone(&file));
        Ok(Arc::new(OfFile { file, others }))
    }
}

#[derive(Debug)]
struct OfFile {
    file: SchemaRef,
    others: DefaultPhysicalExprAdapter,
}

impl OfFile {
    /// The column of an attribute.
    fn column(&self, name: &str) -> Option<Arc<dyn PhysicalExpr>> {
        let mut fields = self.file.fields().iter().enumerate();
        let (index, field) = fields
            .find(|(_, field)| field.metadata().get(store::PROMOTED_KEY).is_some_and(|promoted| promoted == name))?;
        Some(Arc::new(Column::new(field.name(), index)))
    }
}

impl PhysicalExprAdapter for OfFile {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = expr.transform_down(|expr| {
            if let Some(column) = expr.downcast_ref::<Column>()
                && column.name().ends_with("']")
            {
                return match self.column(column.name()) {
                    Some(column) => Ok(Transformed::yes(column)),
                    // Read as null it would be a wrong answer.
                    None => exec_err!("a file lacks the column of {} that the manifest says it has", column.name()),
                };
            }
            match physical_attribute(&expr).and_then(|name| self.column(&name)) {
                Some(column) => Ok(Transformed::yes(column)),
                None => Ok(Transformed::no(expr)),
            }
        });
        self.others.rewrite(rewritten.data()?)
    }
}

fn physical_attribute(expr: &Arc<dyn PhysicalExpr>) -> Option<String> {
    let get = expr.downcast_ref::<ScalarFunctionExpr>().filter(|function| function.name() == GET)?;
    let [map, key] = get.args() else { return None };
    let (map, key) = (map.downcast_ref::<Column>()?, key.downcast_ref::<Literal>()?);
    Some(name(map.name(), key.value().try_as_str().flatten()?))
}

/// Moves the reading of attributes below a union, to the scans that may have columns for them. DataFusion moves a projection
/// there only when it has fewer columns than the union, and one map is one attribute.
#[derive(Debug)]
pub(crate) struct BelowUnions;

impl PhysicalOptimizerRule for BelowUnions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| match below_union(&plan)? {
            Some(moved) => Ok(Transformed::yes(moved)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "attributes_below_unions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn below_union(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let Some(union) = projection.input().downcast_ref::<UnionExec>() else { return Ok(None) };
    let mut reads_attributes = false;
    for projected in projection.expr() {
        reads_attributes |= projected.expr.exists(|expr| Ok(physical_attribute(expr).is_some()))?;
    }
    if !reads_attributes {
        return Ok(None);
    }
    let sides = union.inputs().iter().map(|side| {
        let projection = ProjectionExec::try_new(projection.expr().to_vec(), Arc::clone(side))?;
        Ok(Arc::new(projection) as Arc<dyn ExecutionPlan>)
    });
    UnionExec::try_new(sides.collect::<Result<_>>()?).map(Some)
}
