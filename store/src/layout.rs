//! The only place that decides a path. Everything is below `<data_dir>/telemetry/`; the manifest names files relative to it.
//!
//! ```text
//! lock                                              held by the writer, its pid inside
//! manifest.json                                     what exists
//! log/traces/7.log                                  a segment of the hot log
//! log/traces/7.log.damaged                          a copy kept for a person to look at
//! cursors/clickhouse.traces.json                    how far a sink has read the log of a signal
//! cursors/tail-sampling.traces/…                    what a reader remembers beside its place
//! repeats/traces                                    which requests are durable, so that they are not kept twice
//! spans/date=2026-11-30/hour=08/<uuid>.parquet      rows by hour of `time`, UTC
//! spans/date=quarantine/<uuid>.parquet              rows whose `time` cannot be true, or is one of too many
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Signal, Table};
use uuid::Uuid;

pub(crate) const HOUR_NS: i64 = 3_600_000_000_000;

/// Rows older than this are quarantined: late data is hours or days late, more is a broken clock.
const AGE_MAX_NS: i64 = 365 * 24 * HOUR_NS;
/// Rows further in the future are quarantined: time zones explain hours, nothing explains more than a day.
const AHEAD_MAX_NS: i64 = 24 * HOUR_NS;

/// Folder of what sinks have read; never looked through, so nothing in it is an orphan.
pub(crate) const CURSORS: &str = "cursors";

/// Folder of what is known of requests; never looked through either.
pub(crate) const REPEATS: &str = "repeats";

const SEGMENT: &str = ".log";
const DAMAGED: &str = ".damaged";
const PARQUET: &str = ".parquet";
const QUARANTINE: &str = "date=quarantine";
const TEMPORARY: &str = ".tmp";

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> io::Result<Layout> {
        Ok(Layout { root: std::path::absolute(data_dir)?.join("telemetry") })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    /// Where a path of the manifest is.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The folders files are looked for in when a crash may have left some: hot log first.
    pub(crate) fn folders(&self) -> Vec<String> {
        let log = Signal::ALL.into_iter().map(log_folder);
        log.chain(Table::ALL.into_iter().map(|table| table.name().to_owned())).collect()
    }
}

pub(crate) fn log_folder(signal: Signal) -> String {
    format!("log/{}", signal.name())
}

pub(crate) fn segment(signal: Signal, number: u64) -> String {
    format!("{}/{number}{SEGMENT}", log_folder(signal))
}

/// The number of a segment of `signal`, from its path in the manifest.
pub(crate) fn segment_number(signal: Signal, path: &str) -> Option<u64> {
    let name = path.strip_prefix(&log_folder(signal))?.strip_prefix('/')?;
    name.strip_suffix(SEGMENT)?.parse().ok()
}

pub(crate) fn cursor(sink: &str, signal: Signal) -> String {
    format!("{CURSORS}/{sink}.{}.json", signal.name())
}

pub(crate) fn cursor_folder(sink: &str, signal: Signal) -> String {
    format!("{CURSORS}/{sink}.{}", signal.name())
}

pub(crate) fn repeats(signal: Signal) -> String {
    format!("{REPEATS}/{}", signal.name())
}

/// Where the copy of a damaged file goes.
pub(crate) fn damaged(path: &Path) -> PathBuf {
    with_suffix(path, DAMAGED)
}

/// Where a file is written before it gets its name.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    with_suffix(path, TEMPORARY)
}

/// A new Parquet file in a folder of [`Partition::folder`]; names sort by creation.
pub(crate) fn parquet(folder: &str) -> String {
    format!("{folder}/{}{PARQUET}", Uuid::now_v7())
}

/// The folder of a Parquet file named by the manifest.
pub(crate) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The object that lists the copies of Parquet files of one table and day, wherever those are kept. Its name begins as the names
/// of files do that readers of hive-style folders pass over.
pub(crate) fn listing(file: &str) -> String {
    let day: Vec<&str> = file.split('/').take(2).collect();
    format!("{}/_files.json", day.join("/"))
}

/// Whether a Parquet file named by the manifest holds rows of absurd times.
pub(crate) fn is_quarantine(file: &str) -> bool {
    folder(file).ends_with(QUARANTINE)
}

/// What a file name says about who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours; an orphan when the manifest does not name it.
    Data,
    /// A copy for a person.
    Damaged,
    /// Not ours: left alone.
    Foreign,
}

pub(crate) fn kind(name: &str) -> Kind {
    if name.ends_with(DAMAGED) {
        Kind::Damaged
    } else if [SEGMENT, PARQUET, TEMPORARY].iter().any(|suffix| name.ends_with(suffix)) {
        Kind::Data
    } else {
        Kind::Foreign
    }
}

/// Which Parquet files of a table a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Partition {
    /// Hours since the epoch.
    Hour(i64),
    Quarantine,
}

impl Partition {
    pub(crate) fn of(time_ns: i64, now_ns: i64) -> Partition {
        let believable = now_ns.saturating_sub(AGE_MAX_NS)..=now_ns.saturating_add(AHEAD_MAX_NS);
        match believable.contains(&time_ns) {
            true => Partition::Hour(time_ns.div_euclid(HOUR_NS)),
            false => Partition::Quarantine,
        }
    }

    pub(crate) fn folder(self, table: Table) -> String {
        let hour = match self {
            Partition::Hour(hour) => jiff::Timestamp::from_second(hour.saturating_mul(3600)).ok(),
            Partition::Quarantine => None,
        };
        match hour {
            Some(hour) => format!("{}/{}", table.name(), hour.strftime("date=%Y-%m-%d/hour=%H")),
            None => format!("{}/{QUARANTINE}", table.name()),
        }
    }
}

/// Wall clock, nanoseconds since the epoch.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Wall clock, milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(now_ns() / 1_000_000).unwrap_or(0)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rest_by_hour_and_absurd_ones_apart() {
        let now: i64 = 1_796_025_600_000_000_000; // 2026-11-30T08:00:00Z
        let folder = |time| Partition::of(time, now).folder(Table::Spans);
        assert_eq!(folder(now), "spans/date=2026-11-30/hour=08");
        assert_eq!(folder(now - 1), "spans/date=2026-11-30/hour=07");
        assert_eq!(folder(now + 23 * HOUR_NS), "spans/date=2026-12-01/hour=07");
        for absurd in [0, -1, i64::MIN, i64::MAX, now + 25 * HOUR_NS, now - 366 * 24 * HOUR_NS] {
            assert_eq!(folder(absurd), "spans/date=quarantine", "{absurd}");
        }
    }

    #[test]
    fn a_segment_is_known_by_its_path() {
        assert_eq!(segment_number(Signal::Logs, &segment(Signal::Logs, 42)), Some(42));
        for other in
            ["log/traces/42.log", "log/logs/42.log.damaged", "log/logs/x.log", "logs/date=quarantine/1.parquet"]
        {
            assert_eq!(segment_number(Signal::Logs, other), None, "{other}");
        }
    }

    #[test]
    fn copies_are_listed_by_table_and_day() {
        assert_eq!(listing("spans/date=2026-11-30/hour=08/1.parquet"), "spans/date=2026-11-30/_files.json");
        assert_eq!(listing("logs/date=quarantine/1.parquet"), "logs/date=quarantine/_files.json");
    }

    #[test]
    fn only_files_with_our_names_are_ours() {
        assert_eq!(kind("7.log"), Kind::Data);
        assert_eq!(kind("x.parquet.tmp"), Kind::Data);
        assert_eq!(kind("7.log.damaged"), Kind::Damaged);
        assert_eq!(kind("README.md"), Kind::Foreign);
    }
}
