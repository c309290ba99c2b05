//! Whole Parquet files leave when they are older or more than what is kept. Nothing is rewritten for it.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use crate::faults::Step;
use crate::layout;
use crate::maintenance::Worked;
use crate::manifest::{Manifest, Parquet};
use crate::shared::Shared;
use crate::{Args, StoreError};

const HOUR_MS: u64 = 3_600_000;

/// Takes out of the data what is due; deletion follows when no query can be using it.
pub(crate) fn expire(shared: &Shared) -> Result<Worked, StoreError> {
    let manifest = shared.catalog.current();
    let due = due(&manifest, &shared.args, layout::now_ms());
    if due.is_empty() {
        return Ok(Worked::No);
    }
    let rows: u64 = due.iter().map(|file| file.rows).sum();
    let paths: HashSet<&str> = due.iter().map(|file| file.path.as_str()).collect();
    shared.faults.at(Step::Expire).map_err(|error| StoreError::write("expire files", error))?;
    shared.catalog.change(|manifest| manifest.replace_files(&paths, layout::now_ms()))?;
    tracing::info!("{} files with {rows} rows are older or more than what is kept", paths.len());
    shared.expired_rows.fetch_add(rows, Relaxed);
    Ok(Worked::Yes)
}

/// Files past their age, and the oldest of the others beyond the size.
fn due<'a>(manifest: &'a Manifest, args: &Args, now_ms: u64) -> Vec<&'a Parquet> {
    let age_max_ms = args.retention_hours.map_or(u64::MAX, |hours| hours.saturating_mul(HOUR_MS));
    let mut files: Vec<(u64, &Parquet)> = manifest.files.iter().map(|file| (last_ms(file, now_ms), file)).collect();
    files.sort_by_key(|(last_ms, _)| *last_ms);
    let mut bytes: u64 = files.iter().map(|(_, file)| file.bytes).sum();
    let bytes_max = args.retention_bytes.unwrap_or(u64::MAX);
    let oldest = files.into_iter().take_while(|(last_ms, file)| {
        let due = now_ms.saturating_sub(*last_ms) > age_max_ms || bytes > bytes_max;
        bytes -= file.bytes;
        due
    });
    oldest.map(|(_, file)| file).collect()
}

/// When the last row of a file happened, milliseconds since the epoch. No row is younger than its file, whatever a broken clock
/// says: what it sent is kept as long as what came with it.
fn last_ms(file: &Parquet, now_ms: u64) -> u64 {
    let last_ms = u64::try_from(file.time_max / 1_000_000).unwrap_or(0);
    match layout::is_quarantine(&file.path) || last_ms > now_ms {
        true => file.created_ms,
        false => last_ms,
    }
}

#[cfg(test)]
mod tests {
    use model::Table;

    use super::*;

    const NOW_MS: u64 = 1_796_025_600_000;

    /// Files of (age of the last row in hours, bytes), and the ages of those that are due.
    fn check(hours: Option<u64>, bytes: Option<u64>, files: &[(i64, u64)], expected: &[i64]) {
        let mut manifest = Manifest::empty();
        manifest.files = files
            .iter()
            .map(|(age, bytes)| {
                let partition = if *age > 9000 { "quarantine" } else { "2026-11-30/hour=08" };
                Parquet {
                    table: Table::Logs,
                    path: format!("logs/date={partition}/{age}.parquet"),
                    rows: 1,
                    bytes: *bytes,
                    time_min: 0,
                    time_max: (NOW_MS as i64 - age * HOUR_MS as i64) * 1_000_000,
                    created_ms: NOW_MS,
                    trace_index: None,
                    promoted: Default::default(),
                    promotion: None,
                }
            })
            .collect();
        let args = Args { retention_hours: hours, retention_bytes: bytes, ..Args::new("/nowhere") };
        let found: Vec<String> = due(&manifest, &args, NOW_MS).iter().map(|file| file.path.clone()).collect();
        let wanted: Vec<String> = expected.iter().map(|age| format!("/{age}.parquet")).collect();
        assert!(found.len() == wanted.len() && found.iter().zip(&wanted).all(|(a, b)| a.ends_with(b)), "{found:?}");
    }

    #[test]
    fn without_a_limit_everything_is_kept() {
        check(None, None, &[(8000, u64::MAX / 2), (1, 5)], &[]);
    }

    #[test]
    fn what_is_older_leaves() {
        check(Some(24), None, &[(1, 5), (30, 5), (24, 5), (25, 5)], &[30, 25]);
    }

    #[test]
    fn beyond_the_size_the_oldest_leave() {
        check(None, Some(12), &[(1, 5), (3, 5), (2, 5)], &[3]);
        check(None, Some(4), &[(1, 5), (3, 5), (2, 5)], &[3, 2, 1]);
        check(Some(2), Some(100), &[(1, 5), (3, 5)], &[3]);
    }

    #[test]
    fn times_that_cannot_be_true_count_from_their_arrival() {
        check(Some(24), None, &[(100_000, 5), (-10, 5)], &[]);
    }
}
