//! What each process counted at its source against what SQL finds in the store.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use observe::{Counts, SignalCounts};

const INSTANCE: &str = "resource['service.instance.id']";

/// Nobody else waits for the engine any more, and a long run has much to count.
const ACCOUNT_SECONDS_MAX: u64 = 3_600;
/// Before the first part started nothing of this run was made; clocks are allowed a minute.
const MARGIN_SECONDS: u64 = 60;

/// One row of the report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) signal: &'static str,
    pub(crate) made: u64,
    pub(crate) dropped: u64,
    pub(crate) acknowledged: u64,
    pub(crate) stored: u64,
    pub(crate) distinct: u64,
}

impl Row {
    pub(crate) fn is_clean(&self) -> bool {
        self.dropped == 0
            && self.made == self.acknowledged
            && self.acknowledged == self.stored
            && self.stored == self.distinct
    }
}

/// The counts that processes left in this folder when they ended.
pub(crate) fn read_counts(folder: &Path) -> anyhow::Result<Vec<Counts>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("could not list {}", folder.display())),
    };
    entries
        .map(|entry| {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            serde_json::from_str(&text).with_context(|| format!("{} is not a counts file", path.display()))
        })
        .collect()
}

/// Stored and distinct rows of each signal, of the instances that were counted.
///
/// Only the last `run` is read: earlier runs on the same folder rest in files that the bound on time prunes.
pub(crate) async fn compare(mut settings: query::Args, counts: &[Counts], run: Duration) -> anyhow::Result<Vec<Row>> {
    // The same engine that answers users, with room for every point of a long run in one answer.
    settings.limits.query_answer_rows_max = usize::MAX;
    settings.limits.query_seconds_max = ACCOUNT_SECONDS_MAX;
    let since = format!("time > now() - INTERVAL '{} seconds'", run.as_secs() + MARGIN_SECONDS);
    let engine = query::Engine::open(&settings).await?;
    let instances: HashSet<&str> = counts.iter().map(|count| count.instance.as_str()).collect();
    let spans = count(&engine, "spans", "trace_id || span_id", &since, &instances).await?;
    let logs = count(&engine, "logs", "attributes['log.record.uid']", &since, &instances).await?;
    let points = points(&engine, &since, &instances).await?;
    let row = |signal, (stored, distinct), of: fn(&Counts) -> SignalCounts| {
        let mut row = Row { signal, stored, distinct, ..Row::default() };
        for count in counts.iter().map(of) {
            row.made += count.made;
            row.dropped += count.dropped;
            row.acknowledged += count.acknowledged;
        }
        row
    };
    Ok(vec![
        row("spans", spans, |counts| counts.spans),
        row("logs", logs, |counts| counts.logs),
        row("metric points", points, |counts| counts.points),
    ])
}

async fn count(
    engine: &query::Engine,
    table: &str,
    id: &str,
    since: &str,
    instances: &HashSet<&str>,
) -> anyhow::Result<(u64, u64)> {
    let sql = format!(
        "SELECT {INSTANCE} AS instance, count(*) AS stored, count(DISTINCT {id}) AS distinct_ids FROM {table} \
         WHERE {since} GROUP BY 1"
    );
    let mut sums = HashMap::from([("stored", 0), ("distinct_ids", 0)]);
    let mut answer = engine.sql(&sql).await?;
    while let Some(batch) = answer.next().await? {
        let instance = arrow::compute::cast(&batch["instance"], &arrow::datatypes::DataType::Utf8)?;
        for row in 0..batch.num_rows() {
            if instance.is_valid(row) && instances.contains(instance.as_string::<i32>().value(row)) {
                for (name, sum) in &mut sums {
                    *sum += batch[*name].as_primitive::<Int64Type>().value(row) as u64;
                }
            }
        }
    }
    Ok((sums["stored"], sums["distinct_ids"]))
}

/// A point has no id of its own: instance, name, attributes and time tell it apart.
async fn points(engine: &query::Engine, since: &str, instances: &HashSet<&str>) -> anyhow::Result<(u64, u64)> {
    let mut stored = 0;
    let mut distinct = HashSet::new();
    for table in model::Signal::Metrics.tables() {
        let sql = format!(
            "SELECT {INSTANCE} AS instance, scope_name, name, attributes, time FROM {} WHERE {since}",
            table.name()
        );
        let mut answer = engine.sql(&sql).await?;
        while let Some(batch) = answer.next().await? {
            let options = FormatOptions::default();
            let columns: Vec<ArrayFormatter<'_>> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect::<Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                if !instances.contains(columns[0].value(row).to_string().as_str()) {
                    continue;
                }
                stored += 1;
                let mut hasher = DefaultHasher::new();
                columns.iter().for_each(|column| column.value(row).to_string().hash(&mut hasher));
                distinct.insert(hasher.finish());
            }
        }
    }
    Ok((stored, distinct.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_clean_only_when_all_counts_agree() {
        let clean = Row { signal: "spans", made: 2, dropped: 0, acknowledged: 2, stored: 2, distinct: 2 };
        assert!(clean.is_clean());
        assert!(
            !Row { dropped: 1, ..Row { signal: "spans", made: 3, acknowledged: 2, stored: 2, distinct: 2, ..clean } }
                .is_clean()
        );
        assert!(!Row { signal: "spans", made: 2, acknowledged: 2, stored: 3, distinct: 2, dropped: 0 }.is_clean());
    }
}
