//! `faultline export`: stored telemetry as OTLP/JSON, one export request a line.
//!
//! It asks in windows of time small enough for the limits of one answer and writes each as it arrives, so an export of any
//! size takes little memory. A window is asked for once and they do not overlap: every row comes out once.

use anyhow::{Context, bail};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use jiff::{SignedDuration, Timestamp};
use model::{Batch, Table};

use super::sql::client::{Client, Source};
use super::sql::print;

/// Rows one question asks for, as far as whole seconds allow.
const WINDOW_ROWS: i64 = 100_000;
/// Rows of one line; about a megabyte.
const LINE_ROWS: usize = 1_000;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[arg(long, value_enum)]
    pub signal: Signal,
    /// First moment: RFC 3339, or relative to now as -15m, -2h, -1d. Everything when absent
    #[arg(long, allow_hyphen_values = true)]
    pub from: Option<String>,
    /// First moment that is left out, as `--from`, or `now`. Everything when absent
    #[arg(long, allow_hyphen_values = true)]
    pub to: Option<String>,
    #[command(flatten)]
    pub source: Source,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl From<Signal> for model::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Traces => model::Signal::Traces,
            Signal::Logs => model::Signal::Logs,
            Signal::Metrics => model::Signal::Metrics,
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let moment =
        |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), |text| nanoseconds(text, now));
    let window = Window { from: moment(&args.from, i64::MIN)?, to: moment(&args.to, i64::MAX)? };
    let client = Client::open(&args.source).await?;
    let signal = model::Signal::from(args.signal);
    for table in signal.tables() {
        for minutes in windows(&client, *table, window, "minute", MINUTE).await? {
            // A minute that is too much for one answer comes second by second.
            let parts = match minutes.rows > WINDOW_ROWS {
                true => windows(&client, *table, minutes.window, "second", SECOND).await?,
                false => vec![minutes],
            };
            for part in parts {
                export(&client, *table, part.window).await?;
            }
        }
    }
    Ok(())
}

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;

/// Nanoseconds since the epoch; `to` is outside, except the very last moment there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: i64,
    to: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    window: Window,
    rows: i64,
}

impl Window {
    fn predicate(self) -> String {
        let at = |at: i64| format!("arrow_cast({at}, 'Timestamp(ns, \"UTC\")')");
        let end = if self.to == i64::MAX { "<=" } else { "<" };
        format!("time >= {} AND time {end} {}", at(self.from), at(self.to))
    }
}

/// Windows that have rows, in order, each of whole buckets and as large as one question may be.
async fn windows(
    client: &Client,
    table: Table,
    window: Window,
    unit: &str,
    bucket: i64,
) -> anyhow::Result<Vec<Counted>> {
    let sql = format!(
        "SELECT date_trunc('{unit}', time) AS start, count(*) AS rows FROM stored.{} WHERE {} GROUP BY 1 ORDER BY 1",
        table.name(),
        window.predicate()
    );
    let (_, batches) = client.rows(&sql).await?.collect().await?;
    let mut buckets = Vec::new();
    for batch in &batches {
        let starts = batch.column(0).as_primitive_opt::<TimestampNanosecondType>().context("starts are timestamps")?;
        let rows = batch.column(1).as_primitive_opt::<Int64Type>().context("rows are integers")?;
        buckets.extend(starts.values().iter().copied().zip(rows.values().iter().copied()));
    }
    Ok(merge(&buckets, bucket, window))
}

fn merge(buckets: &[(i64, i64)], bucket: i64, within: Window) -> Vec<Counted> {
    let mut merged: Vec<Counted> = Vec::new();
    for &(start, rows) in buckets {
        let window = Window { from: start.max(within.from), to: start.saturating_add(bucket).min(within.to) };
        match merged.last_mut() {
            Some(last) if last.rows + rows <= WINDOW_ROWS => {
                last.rows += rows;
                last.window.to = window.to;
            }
            _ => merged.push(Counted { window, rows }),
        }
    }
    merged
}

async fn export(client: &Client, table: Table, window: Window) -> anyhow::Result<()> {
    let sql = format!("SELECT * FROM stored.{} WHERE {}", table.name(), window.predicate());
    let mut rows = client.rows(&sql).await?;
    let mut waiting = Vec::new();
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        for offset in (0..batch.num_rows()).step_by(LINE_ROWS) {
            let part = batch.slice(offset, LINE_ROWS.min(batch.num_rows() - offset));
            count += part.num_rows();
            waiting.push(part);
            if count >= LINE_ROWS {
                write_line(table, std::mem::take(&mut waiting))?;
                count = 0;
            }
        }
    }
    write_line(table, waiting)
}

fn write_line(table: Table, rows: Vec<RecordBatch>) -> anyhow::Result<()> {
    if rows.iter().all(|rows| rows.num_rows() == 0) {
        return Ok(());
    }
    let batches: Vec<Batch> = rows.into_iter().map(|rows| Batch::new(table, rows)).collect::<Result<_, _>>()?;
    let mut line = serde_json::to_vec(&model::encode_json(table.signal(), &batches))?;
    line.push(b'\n');
    print(&line)
}

fn nanoseconds(text: &str, now: Timestamp) -> anyhow::Result<i64> {
    let moment = match text.strip_prefix('-') {
        Some(ago) => now.checked_sub(duration(ago).with_context(|| format!("could not read {text:?}"))?)?,
        None if text == "now" => now,
        None => text.parse().with_context(|| format!("{text:?} is neither RFC 3339 nor relative as -15m, -2h, -1d"))?,
    };
    i64::try_from(moment.as_nanosecond()).with_context(|| format!("{text:?} is outside of 1677 to 2262"))
}

fn duration(text: &str) -> anyhow::Result<SignedDuration> {
    let Some((at, unit)) = text.char_indices().next_back() else { bail!("a number and s, m, h or d is missing") };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!("the unit is s, m, h or d"),
    };
    let number: i64 = text[..at].parse().context("the number is no whole number")?;
    Ok(SignedDuration::from_secs(number.checked_mul(seconds).context("the number is too large")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_or_relative() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let at =
            |text: &str| nanoseconds(text, now).map(|at| Timestamp::from_nanosecond(at.into()).unwrap().to_string());
        assert_eq!(at("-15m").unwrap(), "2026-11-22T11:45:00Z");
        assert_eq!(at("-2d").unwrap(), "2026-11-20T12:00:00Z");
        assert_eq!(at("now").unwrap(), "2026-11-22T12:00:00Z");
        assert_eq!(at("2026-01-01T00:00:00+01:00").unwrap(), "2025-12-31T23:00:00Z");
        for bad in ["", "-", "-m", "-5", "-5y", "yesterday", "-é"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn neighbouring_buckets_are_asked_for_together() {
        let all = Window { from: 30, to: i64::MAX };
        let merged = merge(&[(0, 60_000), (100, 40_000), (300, 1), (400, 500_000)], 100, all);
        let expected = [(30, 200, 100_000), (300, 400, 1), (400, 500, 500_000)];
        let expected = expected.map(|(from, to, rows)| Counted { window: Window { from, to }, rows });
        assert_eq!(merged, expected);
    }
}
