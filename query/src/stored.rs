//! One table as it rests: Parquet files and hot rows of one snapshot, read as one.
//!
//! Filters go down to both sides exactly. Files are left out by their bounds of `time` and by the traces they hold; inside a file
//! row groups, pages and bloom filters are left out by DataFusion's Parquet source; hot rows are filtered batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, binary_expr, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use model::Table;
use object_store::ObjectMeta;
use object_store::path::Path;
use store::{ColdFile, Snapshot};

use crate::bounds::Bounds;
use crate::files;
use crate::hex_ids::compare_bytes;
use crate::moment::Moment;
use crate::promoted::{self, Promoted};
use crate::story::TraceId;
use crate::traces::traces;

/// A table of the store with ids as bytes.
#[derive(Debug)]
pub(crate) struct StoredTable {
    table: Table,
    moment: Arc<Moment>,
}

impl StoredTable {
    pub(crate) fn new(table: Table, moment: Arc<Moment>) -> StoredTable {
        StoredTable { table, moment }
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| pushdown(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = self.moment.snapshot(self.table).await?;
        let question = Question::new(self.table.schema(), projection, filters, limit)?;
        let files = question.files(&snapshot).await?;
        let files: Vec<&ColdFile> = files.iter().map(|file| &snapshot.files[*file]).collect();
        let mut sides = Vec::new();
        // Files differ in which of the attributes asked for they have as columns.
        for (promoted, files) in by_promotion(files, &promoted::asked(&question.filters)?) {
            let side = Side::new(&question, session, &promoted)?;
            sides.push(side.answer(cold(session, &side, &files, question.fetch())?)?);
        }
        if !snapshot.hot.is_empty() {
            let side = Side::new(&question, session, &BTreeSet::new())?;
            sides.push(side.answer(hot(session, &side, &snapshot.hot)?)?);
        }
        match sides.is_empty() {
            true => Ok(Arc::new(EmptyExec::new(Arc::new(question.table.project(&question.answered)?)))),
            false => UnionExec::try_new(sides),
        }
    }
}

/// Everything but a subquery can be answered by looking at one row.
pub(crate) fn pushdown(filter: &Expr) -> TableProviderFilterPushDown {
    let subquery = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    });
    match subquery {
        Ok(false) => TableProviderFilterPushDown::Exact,
        _ => TableProviderFilterPushDown::Unsupported,
    }
}

/// What one scan has to find.
struct Question {
    table: SchemaRef,
    bounds: Bounds,
    /// `None`: any.
    traces: Option<Arc<[TraceId]>>,
    filters: Vec<Expr>,
    /// Columns of the answer, as indices of the table.
    answered: Vec<usize>,
    limit: Option<usize>,
}

impl Question {
    fn new(
        table: &SchemaRef,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Question> {
        let whole = DFSchema::try_from(Arc::clone(table))?;
        let mut filters: Vec<Expr> = unnormalize_cols(filters.iter().cloned())
            .into_iter()
            .map(|filter| compare_bytes(filter, &whole))
            .collect::<Result<_>>()?;
        let bounds = Bounds::of(&filters);
        let traces = traces(&filters).map(Arc::from);
        filters.extend(implied(bounds));
        let answered = projection.cloned().unwrap_or_else(|| (0..table.fields().len()).collect());
        Ok(Question { table: Arc::clone(table), bounds, traces, filters, answered, limit })
    }

    /// The files that can hold a row of the answer, as indices of the snapshot's.
    async fn files(&self, snapshot: &Snapshot) -> Result<Vec<usize>> {
        let files = snapshot.files.iter().enumerate();
        let mut files: Vec<usize> = files
            .filter(|(_, file)| self.bounds.overlaps(file.time_min, file.time_max))
            .map(|(index, _)| index)
            .collect();
        let Some(traces) = self.traces.clone() else { return Ok(files) };
        let all = Arc::clone(&snapshot.files);
        let look = move || {
            files.retain(|file| all[*file].may_hold_trace(&traces));
            files
        };
        tokio::task::spawn_blocking(look).await.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// Rows after which a side may stop, when nothing is filtered.
    fn fetch(&self) -> Option<usize> {
        self.limit.filter(|_| self.filters.is_empty())
    }
}

/// What one way to read has to do: files that have columns for the same attributes among those asked for, or hot rows.
struct Side {
    /// Of the table, then of those attributes.
    schema: SchemaRef,
    /// Columns to read, as indices of `schema`: the answer's first, then those only the filter needs.
    columns: Vec<usize>,
    /// How many of `columns` belong to the answer.
    answered: usize,
    /// Over `columns`.
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Side {
    fn new(question: &Question, session: &dyn Session, promoted: &BTreeSet<String>) -> Result<Side> {
        let schema = promoted::schema(&question.table, promoted);
        let (mut columns, answered) = (question.answered.clone(), question.answered.len());
        let filters = question.filters.iter().cloned().map(|filter| promoted::with_columns(filter, promoted));
        let filter = match conjunction(filters.collect::<Result<Vec<_>>>()?) {
            None => None,
            Some(filter) => {
                let mut only_filtered: Vec<usize> = filter
                    .column_refs()
                    .iter()
                    .map(|column| schema.index_of(&column.name))
                    .collect::<Result<_, _>>()?;
                only_filtered.sort_unstable();
                only_filtered.retain(|column| !columns.contains(column));
                columns.extend(only_filtered);
                let read = DFSchema::try_from(schema.project(&columns)?)?;
                Some(session.create_physical_expr(filter, &read)?)
            }
        };
        Ok(Side { schema, columns, answered, filter })
    }

    /// Filters what a side read and keeps the columns of the answer.
    fn answer(&self, read: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(filter) = &self.filter else { return Ok(read) };
        let kept = (self.answered < self.columns.len()).then(|| (0..self.answered).collect());
        let filtered = FilterExecBuilder::new(Arc::clone(filter), read).apply_projection(kept)?.build()?;
        Ok(Arc::new(filtered))
    }
}

/// Files by the attributes they have columns for, among those asked for.
fn by_promotion<'a>(
    files: Vec<&'a ColdFile>,
    asked: &BTreeSet<String>,
) -> BTreeMap<BTreeSet<String>, Vec<&'a ColdFile>> {
    let mut sides: BTreeMap<BTreeSet<String>, Vec<&ColdFile>> = BTreeMap::new();
    for file in files {
        let promoted = file.promoted.iter().filter(|name| asked.contains(*name)).cloned().collect();
        sides.entry(promoted).or_default().push(file);
    }
    sides
}

/// Bounds as plain comparisons of the column: what row groups and pages are pruned by when the filter spoke of buckets.
fn implied(bounds: Bounds) -> Vec<Expr> {
    let time = |at| lit(ScalarValue::TimestampNanosecond(Some(at), Some("UTC".into())));
    let mut implied = Vec::new();
    if bounds.from > i64::MIN {
        implied.push(binary_expr(col("time"), Operator::GtEq, time(bounds.from)));
    }
    if bounds.to < i64::MAX {
        implied.push(binary_expr(col("time"), Operator::LtEq, time(bounds.to)));
    }
    implied
}

fn cold(
    session: &dyn Session,
    side: &Side,
    files: &[&ColdFile],
    fetch: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let runtime = session.runtime_env();
    let options =
        TableParquetOptions { global: session.config_options().execution.parquet.clone(), ..Default::default() };
    let reader = CachedParquetFileReaderFactory::new(
        runtime.object_store(files::url())?,
        runtime.cache_manager.get_file_metadata_cache(),
    );
    let schema = &side.schema;
    let source = ParquetSource::new(Arc::clone(schema))
        .with_table_parquet_options(options)
        .with_parquet_file_reader_factory(Arc::new(reader));
    let group = files.iter().map(|file| partitioned(file, schema)).collect::<Result<Vec<_>>>()?;
    let groups = FileGroup::new(group).split_files(session.config().target_partitions());
    let rows = files.iter().map(|file| usize::try_from(file.rows).unwrap_or(usize::MAX)).sum();
    let config = FileScanConfigBuilder::new(files::url(), Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(statistics(schema, rows, files.iter().map(|file| (file.time_min, file.time_max))))
        .with_limit(fetch)
        .with_expr_adapter(Some(Arc::new(Promoted)))
        .with_projection_indices(Some(side.columns.clone()))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn partitioned(file: &ColdFile, schema: &SchemaRef) -> Result<PartitionedFile> {
    let location = Path::from_absolute_path(&file.path).map_err(|error| DataFusionError::External(Box::new(error)))?;
    // Files never change under their name, so any constant serves as the key of the metadata cache.
    let meta = ObjectMeta { location, last_modified: Default::default(), size: file.bytes, e_tag: None, version: None };
    let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
    let bounds = [(file.time_min, file.time_max)];
    Ok(PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics(schema, rows, bounds.into_iter()))))
}

fn statistics(schema: &SchemaRef, rows: usize, times: impl Iterator<Item = (i64, i64)>) -> Statistics {
    let mut statistics = Statistics { num_rows: Precision::Exact(rows), ..Statistics::new_unknown(schema) };
    let bounds = times.reduce(|all, file| (all.0.min(file.0), all.1.max(file.1)));
    if let (Some((min, max)), Ok(time)) = (bounds, schema.index_of("time")) {
        let exact = |at| Precision::Exact(ScalarValue::TimestampNanosecond(Some(at), Some("UTC".into())));
        statistics.column_statistics[time] = ColumnStatistics {
            min_value: exact(min),
            max_value: exact(max),
            null_count: Precision::Exact(0),
            ..ColumnStatistics::new_unknown()
        };
    }
    statistics
}

fn hot(session: &dyn Session, side: &Side, rows: &[RecordBatch]) -> Result<Arc<dyn ExecutionPlan>> {
    let mut partitions = vec![Vec::new(); session.config().target_partitions().clamp(1, rows.len())];
    let count = partitions.len();
    for (index, batch) in rows.iter().enumerate() {
        partitions[index % count].push(batch.clone());
    }
    let source = MemorySourceConfig::try_new(&partitions, Arc::clone(&side.schema), Some(side.columns.clone()))?;
    Ok(DataSourceExec::from_data_source(source.with_show_sizes(false)))
}
