//! Makes sure that a table is there and has our columns, once before the first insert, and again after one that failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Part;
use super::args::Schema as Rule;
use super::ddl::{self, Ddl};
use super::tables::{Column, Destination};
use crate::sinks::Failure;

/// What existing tables get is asked for in these words, `?` being database and table.
const COLUMNS: &str = "SELECT name FROM system.columns WHERE database = ? AND table = ? ORDER BY position";
const ENGINE: &str = "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?";

pub(super) struct Schema {
    /// Without a database: ours may not be there yet.
    pub(super) server: Client,
    pub(super) ddl: Ddl,
    pub(super) names: HashMap<Destination, String>,
    pub(super) rule: Rule,
    pub(super) timeout: Duration,
    /// Held while a table is made sure of: the others wait, which costs them a moment at the start.
    pub(super) inserts: Mutex<HashMap<Part, Arc<str>>>,
}

impl Schema {
    /// The statement that rows of a part are inserted with.
    pub(super) async fn insert(&self, part: Part) -> Result<Arc<str>, Failure> {
        let mut inserts = self.inserts.lock().await;
        if let Some(insert) = inserts.get(&part) {
            return Ok(Arc::clone(insert));
        }
        let insert: Arc<str> = self.ensure(part).await?.into();
        inserts.insert(part, Arc::clone(&insert));
        Ok(insert)
    }

    /// Somebody may have changed the table.
    pub(super) async fn forget(&self, part: Part) {
        self.inserts.lock().await.remove(&part);
    }

    async fn ensure(&self, part: Part) -> Result<String, Failure> {
        let (table, columns) = (self.name(part), part.destination.columns());
        let mut there = self.columns(&table).await?;
        let missing: Vec<&Column> =
            columns.iter().filter(|column| !there.iter().any(|name| name == column.name)).collect();
        match self.rule {
            Rule::Create if there.is_empty() => {
                self.create(part, &table).await?;
                info!("created table {table} in ClickHouse");
                there = self.columns(&table).await?;
            }
            Rule::Create => {
                if !missing.is_empty() {
                    self.execute(&self.ddl.add_columns(&table, &missing)).await?;
                    info!("added {} columns to table {table} in ClickHouse", missing.len());
                    there = self.columns(&table).await?;
                }
                if self.forgets_inserts(&table).await? {
                    self.execute(&self.ddl.remember_inserts(&table)).await?;
                }
            }
            Rule::Keep if there.is_empty() => {
                let reason = format!("table {table} is not there, and --clickhouse-schema=keep does not create it");
                return Err(Failure::later(reason));
            }
            Rule::Keep => {
                if !missing.is_empty() {
                    let names: Vec<&str> = missing.iter().map(|column| column.name).collect();
                    warn!("table {table} in ClickHouse lacks {}; what belongs there is left out", names.join(", "));
                }
                if self.forgets_inserts(&table).await? {
                    warn!(
                        "table {table} in ClickHouse has no non_replicated_deduplication_window: \
                         an insert whose answer is lost is there twice"
                    );
                }
            }
        }
        Ok(self.ddl.insert(&table, &columns, &there))
    }

    async fn create(&self, part: Part, table: &str) -> Result<(), Failure> {
        self.execute(&self.ddl.create_database()).await?;
        self.execute(&self.ddl.create_table(part.destination, table, part.quarantined)).await?;
        if part.destination == Destination::Traces && !part.quarantined {
            self.execute(&self.ddl.create_trace_times(table)).await?;
            self.execute(&self.ddl.create_trace_times_view(table)).await?;
        }
        Ok(())
    }

    fn name(&self, part: Part) -> String {
        let name = self.names.get(&part.destination).map_or(part.destination.default_name(), String::as_str);
        if part.quarantined { format!("{name}_quarantine") } else { name.to_owned() }
    }

    /// None: there is no such table.
    async fn columns(&self, table: &str) -> Result<Vec<String>, Failure> {
        Ok(self.ask(COLUMNS, table).await?.lines().map(str::to_owned).collect())
    }

    async fn forgets_inserts(&self, table: &str) -> Result<bool, Failure> {
        let engine = self.ask(ENGINE, table).await?;
        Ok(ddl::remembers_only_when_told(&engine) && !engine.contains("non_replicated_deduplication_window"))
    }

    /// Text, because it needs no types of ours and any server behind a proxy speaks it.
    async fn ask(&self, question: &str, table: &str) -> Result<String, Failure> {
        let question = self.server.query(question).bind(self.ddl.database.as_str()).bind(table);
        let answer = async {
            let mut cursor = question.fetch_bytes("TabSeparatedRaw")?;
            cursor.collect().await
        };
        let answer = self.in_time(answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn execute(&self, statement: &str) -> Result<(), Failure> {
        self.in_time(self.server.query(statement).execute()).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => result.map_err(Failure::later),
            Err(_) => Err(Failure::later(format!("no answer within {} s", self.timeout.as_secs()))),
        }
    }
}
