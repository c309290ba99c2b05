//! The statements that make tables and columns. Text only: who runs them and when is `schema`'s affair.

use std::fmt::Write;

use super::tables::{Column, Destination};

/// Inserts that a table remembers by their token: many minutes of one sink, more than lie between an insert and its repetition.
/// Replicated engines remember by themselves.
const REMEMBERED_INSERTS: u32 = 1000;

/// What all statements share. Names are checked where the settings are read.
#[derive(Clone, Debug)]
pub(super) struct Ddl {
    pub(super) database: String,
    pub(super) engine: String,
    pub(super) cluster: Option<String>,
    pub(super) ttl_days: Option<u32>,
}

impl Ddl {
    pub(super) fn create_database(&self) -> String {
        format!("CREATE DATABASE IF NOT EXISTS `{}`{}", self.database, self.on_cluster())
    }

    /// `quarantined`: for rows of absurd times, which would make a partition each.
    pub(super) fn create_table(&self, destination: Destination, table: &str, quarantined: bool) -> String {
        let mut lines: Vec<String> = destination.columns().iter().map(definition).collect();
        for map in destination.indexed_maps() {
            let name = map.to_lowercase();
            lines.push(format!("INDEX idx_{name}_key mapKeys({map}) TYPE bloom_filter(0.01) GRANULARITY 1"));
            lines.push(format!("INDEX idx_{name}_value mapValues({map}) TYPE bloom_filter(0.01) GRANULARITY 1"));
        }
        lines.extend(destination.indexes().iter().map(ToString::to_string));
        let partition = if quarantined { None } else { Some(destination.time()) };
        self.table(table, &lines, partition, destination.order(), destination.time())
    }

    /// The table in which a lookup by trace id first finds when the trace was.
    pub(super) fn create_trace_times(&self, traces: &str) -> String {
        let lines = [
            "`TraceId` String CODEC(ZSTD(1))".to_owned(),
            "`Start` DateTime CODEC(Delta(4), ZSTD(1))".to_owned(),
            "`End` DateTime CODEC(Delta(4), ZSTD(1))".to_owned(),
            "INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1".to_owned(),
        ];
        self.table(&trace_times(traces), &lines, Some("Start"), "TraceId, Start", "Start")
    }

    pub(super) fn create_trace_times_view(&self, traces: &str) -> String {
        let (database, cluster, times) = (&self.database, self.on_cluster(), trace_times(traces));
        format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS `{database}`.`{times}_mv`{cluster} TO `{database}`.`{times}` AS \
             SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM `{database}`.`{traces}` \
             WHERE TraceId != '' GROUP BY TraceId"
        )
    }

    pub(super) fn add_columns(&self, table: &str, columns: &[&Column]) -> String {
        let added: Vec<String> =
            columns.iter().map(|column| format!("ADD COLUMN IF NOT EXISTS {}", definition(column))).collect();
        format!("ALTER TABLE `{}`.`{table}`{} {}", self.database, self.on_cluster(), added.join(", "))
    }

    pub(super) fn remember_inserts(&self, table: &str) -> String {
        format!(
            "ALTER TABLE `{}`.`{table}`{} MODIFY SETTING non_replicated_deduplication_window = {REMEMBERED_INSERTS}",
            self.database,
            self.on_cluster(),
        )
    }

    /// Only columns that are there: a table may lack some, and the server leaves what is not named.
    pub(super) fn insert(&self, table: &str, columns: &[Column], there: &[String]) -> String {
        let known = columns.iter().filter(|column| there.iter().any(|name| name == column.name));
        let names: Vec<String> = known.map(|column| format!("`{}`", column.name)).collect();
        format!("INSERT INTO `{}`.`{table}` ({}) FORMAT ArrowStream", self.database, names.join(", "))
    }

    fn table(&self, table: &str, lines: &[String], partition: Option<&str>, order: &str, time: &str) -> String {
        let mut text = format!(
            "CREATE TABLE IF NOT EXISTS `{}`.`{table}`{} (\n    {}\n) ENGINE = {}",
            self.database,
            self.on_cluster(),
            lines.join(",\n    "),
            self.engine,
        );
        // Writing to a String cannot fail.
        if let Some(partition) = partition {
            let _ = write!(text, "\nPARTITION BY toDate({partition})");
        }
        let _ = write!(text, "\nORDER BY ({order})");
        if let Some(days) = self.ttl_days {
            let _ = write!(text, "\nTTL toDateTime({time}) + toIntervalDay({days})");
        }
        text.push_str("\nSETTINGS index_granularity = 8192, ttl_only_drop_parts = 1");
        if remembers_only_when_told(&self.engine) {
            let _ = write!(text, ", non_replicated_deduplication_window = {REMEMBERED_INSERTS}");
        }
        text
    }

    fn on_cluster(&self) -> String {
        self.cluster.as_ref().map_or_else(String::new, |cluster| format!(" ON CLUSTER `{cluster}`"))
    }
}

/// Whether a repeated insert is noticed only with a setting of the table: engines of the MergeTree family that are not replicated.
pub(super) fn remembers_only_when_told(engine: &str) -> bool {
    let name = engine.split(['(', ' ']).next().unwrap_or_default();
    name.ends_with("MergeTree") && !name.starts_with("Replicated") && !name.starts_with("Shared")
}

pub(super) fn trace_times(traces: &str) -> String {
    format!("{traces}_trace_id_ts")
}

fn definition(column: &Column) -> String {
    format!("`{}` {}", column.name, column.definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ddl() -> Ddl {
        Ddl { database: "otel".into(), engine: "MergeTree".into(), cluster: None, ttl_days: None }
    }

    #[test]
    fn a_table_is_by_day_sorted_for_its_readers_and_remembers_inserts() {
        let text = ddl().create_table(Destination::Traces, "otel_traces", false);
        for part in [
            "CREATE TABLE IF NOT EXISTS `otel`.`otel_traces` (",
            "`Timestamp` DateTime64(9)",
            "`Events.Attributes` Array(Map(LowCardinality(String), String))",
            "INDEX idx_spanattributes_key mapKeys(SpanAttributes)",
            "PARTITION BY toDate(Timestamp)",
            "ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))",
            "ttl_only_drop_parts = 1",
            "non_replicated_deduplication_window = 1000",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("TTL") && !text.contains('?'), "a ? would be taken for a parameter");
        assert!(!ddl().create_table(Destination::Traces, "t", true).contains("PARTITION BY"));
    }

    #[test]
    fn a_cluster_creates_everywhere_and_a_replicated_engine_remembers_by_itself() {
        let engine = "ReplicatedMergeTree('/clickhouse/{shard}/{table}', '{replica}')".to_owned();
        let ddl = Ddl { engine, cluster: Some("main".into()), ttl_days: Some(3), ..ddl() };
        let text = ddl.create_table(Destination::Gauge, "otel_metrics_gauge", false);
        assert!(text.contains("`otel_metrics_gauge` ON CLUSTER `main` (") && text.contains("ReplicatedMergeTree('"));
        assert!(text.contains("TTL toDateTime(TimeUnix) + toIntervalDay(3)"));
        assert!(!text.contains("non_replicated"));
        assert!(ddl.create_database().ends_with("ON CLUSTER `main`"));
        assert!(ddl.create_trace_times_view("otel_traces").contains("_mv` ON CLUSTER `main` TO"));
    }

    #[test]
    fn only_plain_engines_need_the_window() {
        for engine in ["MergeTree", "ReplacingMergeTree(version) ORDER BY x", "MergeTree()"] {
            assert!(remembers_only_when_told(engine), "{engine}");
        }
        for engine in ["ReplicatedMergeTree('/a', 'b')", "SharedMergeTree", "Distributed(main, a, b)", "Null", ""] {
            assert!(!remembers_only_when_told(engine), "{engine}");
        }
    }

    #[test]
    fn an_insert_names_the_columns_that_are_there() {
        let there = ["TraceId", "Timestamp", "Custom", "Events.Name"].map(String::from);
        let text = ddl().insert("otel_traces", &Destination::Traces.columns(), &there);
        assert_eq!(text, "INSERT INTO `otel`.`otel_traces` (`Timestamp`, `TraceId`, `Events.Name`) FORMAT ArrowStream");
    }
}
