//! Settings of the ClickHouse sink.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use store::Portion;

use super::tables::Destination;

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    /// HTTP address of a ClickHouse that gets all telemetry too, such as http://127.0.0.1:8123; none when not set
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_URL")]
    pub clickhouse_url: Option<String>,

    /// Database of the tables; where the OpenTelemetry exporter puts them, and dashboards look
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_DATABASE", default_value = "default")]
    pub clickhouse_database: String,

    /// User there
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_USER", default_value = "default")]
    pub clickhouse_user: String,

    /// Password of that user; better given as a variable than typed
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_PASSWORD", hide_env_values = true)]
    pub clickhouse_password: Option<String>,

    /// Names of tables, where they are not otel_traces, otel_logs, otel_metrics_gauge and so on; e.g.
    /// exponential_histogram=otel_metrics_exp_histogram,logs=app_logs
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_TABLES", value_delimiter = ',', value_name = "WHAT=TABLE,…")]
    pub clickhouse_tables: Vec<String>,

    /// create makes tables and columns that are missing; keep leaves everything as it is and fills the columns that are there
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_SCHEMA", value_enum, default_value_t = Schema::Create)]
    pub clickhouse_schema: Schema,

    /// Engine of tables that are created, with its arguments; ReplicatedMergeTree on a cluster
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_ENGINE", default_value = "MergeTree")]
    pub clickhouse_engine: String,

    /// Create tables on every server of this cluster (ON CLUSTER); on the one that answers when not set
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_CLUSTER")]
    pub clickhouse_cluster: Option<String>,

    /// Tables that are created keep rows this long, days; for ever when not set
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_TTL_DAYS")]
    pub clickhouse_ttl_days: Option<u32>,

    /// Wait for this many rows of a signal; each insert makes a part, and ClickHouse wants few and large ones
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_ROWS_MIN", default_value_t = 10_000)]
    pub clickhouse_rows_min: u64,

    /// and wait no longer than this, milliseconds: how late a dashboard may be
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_WAIT_MAX_MS", default_value_t = 1_000)]
    pub clickhouse_wait_max_ms: u64,

    /// Rows of one insert, about. More make hardly better parts, and each takes some kilobytes of memory here on its way
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_ROWS_MAX", default_value_t = 30_000)]
    pub clickhouse_rows_max: u64,

    /// Of inserts; lz4 costs little on either side, none is for a server on this machine
    #[arg(long, env = "FAULTLINE_CLICKHOUSE_COMPRESSION", value_enum, default_value_t = Compression::Lz4)]
    pub clickhouse_compression: Compression,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    Create,
    Keep,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Lz4,
    None,
}

/// Bytes of the log read at once: what is unpacked takes about three times that, and as much again until it is sent.
const BYTES_MAX: u64 = 8 << 20;

impl Args {
    pub(super) fn portion(&self) -> Portion {
        Portion {
            rows_min: self.clickhouse_rows_min,
            wait_max: Duration::from_millis(self.clickhouse_wait_max_ms),
            rows_max: self.clickhouse_rows_max,
            bytes_max: BYTES_MAX,
        }
    }

    /// What each table is called there.
    pub(super) fn names(&self) -> anyhow::Result<HashMap<Destination, String>> {
        let mut names: HashMap<_, _> =
            Destination::ALL.into_iter().map(|table| (table, table.default_name().to_owned())).collect();
        for entry in &self.clickhouse_tables {
            let (what, name) = entry.split_once('=').with_context(|| format!("{entry:?} is not WHAT=TABLE"))?;
            let Some(table) = Destination::ALL.into_iter().find(|table| table.what() == what) else {
                let known: Vec<&str> = Destination::ALL.into_iter().map(Destination::what).collect();
                bail!("no table is for {what:?}; there are {}", known.join(", "));
            };
            names.insert(table, name.to_owned());
        }
        for name in names.values().chain([&self.clickhouse_database]).chain(&self.clickhouse_cluster) {
            // They become part of statements, where this needs no escape.
            if name.is_empty() || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
                bail!("{name:?} is no name for a database, table or cluster; use letters, digits and _");
            }
        }
        Ok(names)
    }
}
