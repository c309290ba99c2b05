//! SQL over one data folder, in process: reads only, within limits.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use store::Reader;

use crate::answer::Answer;
use crate::catalog::{CATALOG, PUBLIC, PlannedView, catalog, column_docs, plan_views};
use crate::error::QueryError;
use crate::files::OnlyStoredFiles;
use crate::hex_ids::hex_ids;
use crate::moment::Moment;
use crate::promoted::BelowUnions;
use crate::statement::only_question;
use crate::turn::Turns;
use crate::{Args, Limits};

/// Footers and page indexes of Parquet files kept in memory, in bytes: a few thousand files stay quick to plan.
const METADATA_BYTES_MAX: usize = 256 << 20;
/// Consumers of memory that are named when there is not enough of it.
const CONSUMERS_NAMED: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("three is not zero");
/// Longest SQL text, in bytes: far above what people and tools write, far below what makes the parser a target.
pub(crate) const SQL_BYTES_MAX: usize = 1 << 20;

/// Answers SQL over one data folder. Cheap to clone; all clones share the limits.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Reader,
    limits: Limits,
    turns: Turns,
    runtime: Arc<RuntimeEnv>,
    /// All functions and settings; what it can name is set for each query.
    template: SessionState,
    views: Vec<PlannedView>,
    column_docs: Arc<dyn TableProvider>,
}

impl Engine {
    /// A folder that nobody wrote to yet is empty, not an error.
    pub async fn open(args: &Args) -> anyhow::Result<Engine> {
        let limits = args.limits.clone();
        let reader = Reader::open(&args.data_dir)?;
        let runtime = runtime(&limits)?;
        let mut template = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(Arc::clone(&runtime))
            .with_default_features()
            .with_physical_optimizer_rules(rules())
            .build();
        template.register_udf(Arc::new(hex_ids()))?;
        let nothing_planned = catalog(Arc::new(Moment::new(reader.clone())), &[], None)?;
        let views = plan_views(&session(&template, nothing_planned)).await?;
        let column_docs = column_docs(&views)?;
        let turns = Turns::new(&limits);
        Ok(Engine { shared: Arc::new(Shared { reader, limits, turns, runtime, template, views, column_docs }) })
    }

    /// Rows as they come. The stream ends with an error when a limit is passed; dropping it ends the query.
    pub async fn sql(&self, sql: &str) -> Result<Answer, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(QueryError::Question(format!("the SQL text is longer than {SQL_BYTES_MAX} bytes")));
        }
        let mut turn = self.shared.turns.next().await?;
        let planned = tokio::time::timeout_at(turn.deadline(), self.start(sql)).await;
        match planned.unwrap_or_else(|_elapsed| Err(turn.slow())) {
            Ok(rows) => Ok(Answer::new(rows, turn, self.shared.limits.query_answer_rows_max)),
            Err(error) => {
                turn.ended(error.outcome());
                Err(error)
            }
        }
    }

    /// All rows of the answer.
    pub async fn collect(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), QueryError> {
        let mut answer = self.sql(sql).await?;
        let mut batches = Vec::new();
        while let Some(batch) = answer.next().await? {
            batches.push(batch);
        }
        Ok((answer.schema(), batches))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    async fn start(&self, sql: &str) -> Result<datafusion::execution::SendableRecordBatchStream, QueryError> {
        let shared = &self.shared;
        let moment = Arc::new(Moment::new(shared.reader.clone()));
        let names = catalog(moment, &shared.views, Some(Arc::clone(&shared.column_docs)))?;
        let session = session(&shared.template, names);
        let statement = session.sql_to_statement(sql, &session.config_options().sql_parser.dialect)?;
        let plan = session.statement_to_plan(only_question(statement)?).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|refusal| QueryError::ReadOnly(refusal.strip_backtrace()))?;
        let plan = session.create_physical_plan(&plan).await?;
        Ok(execute_stream(plan, session.task_ctx())?)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("memory", &self.shared.runtime.memory_pool).finish_non_exhaustive()
    }
}

fn session(template: &SessionState, names: Arc<dyn datafusion::catalog::CatalogProviderList>) -> SessionState {
    let mut session = SessionStateBuilder::new_from_existing(template.clone()).with_catalog_list(names).build();
    // `now()` is one moment of the whole query: this one.
    session.mark_start_execution();
    session
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    parquet.enable_page_index = true;
    parquet.bloom_filter_on_read = true;
    config
}

/// Ours comes first: the others go on with what it moved.
fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(BelowUnions)];
    rules.extend(PhysicalOptimizer::new().rules);
    rules
}

fn runtime(limits: &Limits) -> anyhow::Result<Arc<RuntimeEnv>> {
    let pool = FairSpillPool::new(limits.query_memory_bytes_max);
    let mode = match limits.query_spill_bytes_max {
        0 => DiskManagerMode::Disabled,
        _ => DiskManagerMode::OsTmpDirectory,
    };
    let spill =
        DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.query_spill_bytes_max);
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED)))
        .with_disk_manager_builder(spill)
        .with_metadata_cache_limit(METADATA_BYTES_MAX)
        .with_object_store_registry(Arc::new(OnlyStoredFiles::new()))
        .build_arc()?)
}
