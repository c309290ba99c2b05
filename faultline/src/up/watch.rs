//! Looks at a new instance through its own telemetry: do its requests and messages fail, does its queue grow, is it silent?

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::part::Part;
use super::question::Questions;

/// Spans arrive within two seconds: looking more often shows nothing new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Failures below which a share means nothing: the first request of a new process may meet a cold connection.
const ERRORS_MIN: i64 = 5;
/// A queue that is above its line for as long is one that grows: what waited while partitions changed hands is gone by then.
const LAG_LASTS: Duration = Duration::from_secs(10);
/// Exports of metrics that may be missing before we say that an instance is silent, and time for the first of them.
const SILENT_EXPORTS: u32 = 3;
const SILENT_MARGIN: Duration = Duration::from_secs(5);

/// How bad a new version may be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Lines {
    /// Share of its requests and messages that may fail, in per cent.
    #[serde(default = "errors_max_pct_default")]
    pub(crate) errors_max_pct: f64,
    /// Messages that may wait beyond those that waited before.
    #[serde(default = "lag_max_default")]
    pub(crate) lag_max: i64,
}

fn errors_max_pct_default() -> f64 {
    5.0
}

/// Ten seconds of a busy hour.
fn lag_max_default() -> i64 {
    200
}

impl Default for Lines {
    fn default() -> Lines {
        Lines { errors_max_pct: errors_max_pct_default(), lag_max: lag_max_default() }
    }
}

/// What is said of it in the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    Crossed(String),
    /// We were told to stop before we knew.
    Interrupted,
}

/// What an instance has shown since its start.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Seen {
    /// Requests it answered and messages it processed.
    spans: i64,
    errors: i64,
    /// Metric points: what even an idle service sends.
    points: i64,
    /// Messages that wait for it; none while it has not said so.
    pub(crate) lag: Option<i64>,
}

impl Seen {
    /// Too much of it fails, in words.
    fn fails(&self, lines: &Lines) -> Option<String> {
        let share = if self.spans > 0 { 100.0 * self.errors as f64 / self.spans as f64 } else { 0.0 };
        (self.errors >= ERRORS_MIN && share > lines.errors_max_pct).then(|| {
            format!(
                "{} of its {} requests and messages failed ({share:.0} %, allowed are {} %)",
                self.errors, self.spans, lines.errors_max_pct
            )
        })
    }

    /// Too much waits for it, in words.
    fn lags(&self, lines: &Lines, lag_before: i64) -> Option<String> {
        let lag = self.lag.filter(|lag| *lag > lag_before.saturating_add(lines.lag_max))?;
        Some(format!("{lag} messages wait for it, {lag_before} did before (allowed are {} more)", lines.lag_max))
    }
}

/// One process of a part, told apart from its predecessor by its process id.
pub(crate) struct Watched {
    pub(crate) part: Part,
    pub(crate) pid: u32,
    pub(crate) metric_interval: Duration,
}

impl Watched {
    pub(crate) async fn look(&self, questions: &Questions, since: Duration) -> anyhow::Result<Seen> {
        questions.row(&self.sql(since)).await
    }

    /// Watches for `time`, at first against nothing: `lag_before` is what waited for the predecessor.
    pub(crate) async fn watch(
        &self,
        questions: &Questions,
        time: Duration,
        lines: &Lines,
        lag_before: i64,
        stop: &CancellationToken,
    ) -> Verdict {
        let began = Instant::now();
        let silent_max = self.metric_interval * SILENT_EXPORTS + SILENT_MARGIN;
        let mut heard = (began, 0);
        let mut lagging: Option<Instant> = None;
        while began.elapsed() < time {
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return Verdict::Interrupted;
            }
            let unanswered = match self.look(questions, began.elapsed()).await {
                Ok(seen) => {
                    if let Some(why) = seen.fails(lines) {
                        return Verdict::Crossed(why);
                    }
                    match seen.lags(lines, lag_before) {
                        Some(why) if lagging.get_or_insert_with(Instant::now).elapsed() > LAG_LASTS => {
                            return Verdict::Crossed(why);
                        }
                        Some(_) => {}
                        None => lagging = None,
                    }
                    if seen.points > heard.1 {
                        heard = (Instant::now(), seen.points);
                    }
                    None
                }
                // A query node that is busy is asked again; for how long is decided by the silence.
                Err(error) => Some(error),
            };
            if heard.0.elapsed() > silent_max {
                let seconds = silent_max.as_secs();
                return Verdict::Crossed(match unanswered {
                    Some(error) => format!("it could not be watched for {seconds} s: {error:#}"),
                    None => format!("nothing was heard of it for {seconds} s"),
                });
            }
        }
        Verdict::Well
    }

    fn sql(&self, since: Duration) -> String {
        let Watched { part, pid, .. } = self;
        // The part's own start is long enough ago; a minute more is for clocks.
        let seconds = since.as_secs() + 60;
        let mine = format!(
            "service = '{}' AND resource['process.pid'] = '{pid}' AND time > now() - INTERVAL '{seconds} seconds'",
            part.name()
        );
        let lag = match part {
            Part::Core => "name = 'faultline.outbox.pending'".to_owned(),
            _ => format!(
                "name = 'kafka.consumer_group.lag' AND attributes['messaging.consumer.group.name'] = '{}'",
                part.name()
            ),
        };
        format!(
            "SELECT s.spans, s.errors, m.points, l.lag
             FROM (SELECT count(*) AS spans, count(*) FILTER (WHERE status = 'Error') AS errors
                   FROM spans WHERE {mine} AND kind IN ('Server', 'Consumer')) AS s
             CROSS JOIN (SELECT count(*) AS points FROM metrics WHERE {mine}) AS m
             CROSS JOIN (SELECT CAST(sum(latest) AS BIGINT) AS lag FROM (
                 SELECT last_value(value ORDER BY time) AS latest FROM metrics WHERE {mine} AND {lag}
                 GROUP BY attributes['messaging.destination.name'], attributes['messaging.destination.partition.id']
             )) AS l"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Lines = Lines { errors_max_pct: 5.0, lag_max: 100 };

    fn seen(spans: i64, errors: i64, lag: Option<i64>) -> Seen {
        Seen { spans, errors, points: 1, lag }
    }

    #[test]
    fn a_line_is_crossed_by_a_share_of_many_or_by_a_queue_that_grows() {
        let fails = |spans, errors| seen(spans, errors, None).fails(&LINES).is_some();
        assert!(!fails(0, 0) && !fails(4, 4), "a handful says nothing");
        assert!(fails(50, 5) && !fails(1_000, 5));
        let lags = |lag| seen(1, 0, lag).lags(&LINES, 50).is_some();
        assert!(lags(Some(151)) && !lags(Some(150)) && !lags(None), "fifty waited before, a hundred more may");
    }
}
