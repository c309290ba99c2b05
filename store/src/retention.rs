//! Whole Parquet files leave when they are older or more than what is kept. Nothing is rewritten for it.
//!
//! Those that somebody has to copy first stay until that is done, or until the disk gets short.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use model::Signal;

use crate::faults::Step;
use crate::layout;
use crate::maintenance::Worked;
use crate::manifest::{Manifest, Parquet};
use crate::shared::Shared;
use crate::{Args, StoreError, holding, shelf};

const HOUR_MS: u64 = 3_600_000;

/// Takes out of the data what is due; deletion follows when no query can be using it.
pub(crate) fn expire(shared: &Shared) -> Result<Worked, StoreError> {
    let manifest = shared.catalog.current();
    let due = due(&manifest, &shared.args, layout::now_ms());
    let leaving = leaving(due, short_of_disk(shared, &manifest), |file| shelf::needs(shared, file));
    if leaving.is_empty() {
        return Ok(Worked::No);
    }
    let rows: u64 = leaving.iter().map(|file| file.rows).sum();
    let paths: HashSet<&str> = leaving.iter().map(|file| file.path.as_str()).collect();
    shared.faults.at(Step::Expire).map_err(|error| StoreError::write("expire files", error))?;
    let mut lost_rows = [0; 3];
    shared.catalog.change(|manifest| {
        let uncopied =
            manifest.files.iter().filter(|file| paths.contains(file.path.as_str()) && shelf::needs(shared, file));
        uncopied.for_each(|file| lost_rows[file.table.signal() as usize] += file.rows);
        for (known, more) in manifest.copies.lost_rows.iter_mut().zip(lost_rows) {
            *known += more;
        }
        manifest.replace_files(&paths, layout::now_ms());
    })?;
    tracing::info!("{} files with {rows} rows are older or more than what is kept", paths.len());
    for (signal, lost) in Signal::ALL.into_iter().zip(lost_rows).filter(|(_, lost)| *lost > 0) {
        let signal = signal.name();
        tracing::error!(
            otlp.signal = signal,
            sink.lost = lost,
            "the disk is short: {lost} rows of {signal} leave it before they are copied",
        );
    }
    shared.expired_rows.fetch_add(rows, Relaxed);
    Ok(Worked::Yes)
}

/// Of what is due, what nobody needs, and as much of the rest, oldest first, as the disk is short of.
fn leaving(due: Vec<&Parquet>, short_bytes: u64, needs: impl Fn(&Parquet) -> bool) -> Vec<&Parquet> {
    let mut short_bytes = short_bytes;
    let leaves = |file: &&Parquet| {
        let free = !needs(file) || short_bytes > 0;
        if free {
            short_bytes = short_bytes.saturating_sub(file.bytes);
        }
        free
    };
    due.into_iter().filter(leaves).collect()
}

/// What is on its way out already makes room as well.
fn short_of_disk(shared: &Shared, manifest: &Manifest) -> u64 {
    holding::short_of_disk(shared).saturating_sub(manifest.replaced.iter().map(|gone| gone.bytes).sum())
}

/// Files past their age, and the oldest of the others beyond the size.
pub(crate) fn due<'a>(manifest: &'a Manifest, args: &Args, now_ms: u64) -> Vec<&'a Parquet> {
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
        let manifest = manifest(files);
        let args = Args { retention_hours: hours, retention_bytes: bytes, ..Args::new("/nowhere") };
        assert_eq!(ages(&due(&manifest, &args, NOW_MS)), expected);
    }

    fn ages(files: &[&Parquet]) -> Vec<i64> {
        let names = files.iter().map(|file| file.path.rsplit('/').next().unwrap().trim_end_matches(".parquet"));
        names.map(|name| name.parse().unwrap()).collect()
    }

    fn manifest(files: &[(i64, u64)]) -> Manifest {
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
                    elsewhere: Default::default(),
                    trace_index: None,
                    promoted: Default::default(),
                    promotion: None,
                }
            })
            .collect();
        manifest
    }

    #[test]
    fn what_is_not_copied_stays_unless_the_disk_is_short() {
        let manifest = manifest(&[(5, 10), (4, 10), (3, 10), (2, 10)]);
        let leave = |short_bytes| {
            let due = manifest.files.iter().collect();
            // Those of 5, 3 and 2 hours are not copied.
            ages(&leaving(due, short_bytes, |file| !file.path.ends_with("/4.parquet")))
        };
        assert_eq!(leave(0), [4]);
        assert_eq!(leave(1), [5, 4]);
        assert_eq!(leave(21), [5, 4, 3]);
        assert_eq!(leave(u64::MAX), [5, 4, 3, 2]);
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
