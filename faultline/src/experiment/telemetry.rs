//! Questions about the run, asked of the stack's own query node: what was measured from inside is measured by what the
//! platform keeps, with SQL that anyone can repeat.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::report::{Delay, Indicators, PartOfTime};

/// The longest question joins the spans of one window with themselves.
const ANSWER_MAX: Duration = Duration::from_secs(120);

pub(crate) const BREAKDOWN: &str = include_str!("sql/breakdown.sql");
const DELAYS: &str = include_str!("sql/delays.sql");
const INDICATORS: &str = include_str!("sql/indicators.sql");
const LAG: &str = include_str!("sql/lag.sql");
const CALLS: &str = include_str!("sql/calls.sql");
const TAKEN: &str = include_str!("sql/taken.sql");
const WAITED: &str = include_str!("sql/waited.sql");

/// A piece of time, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

pub(crate) struct Telemetry {
    http: reqwest::Client,
    url: String,
}

/// What waits for one service.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Lag {
    pub(crate) service: String,
    /// Events it has yet to take.
    pub(crate) lag: f64,
    /// Of all groups of its consumer. Fewer than before: it is being given its partitions anew.
    pub(crate) partitions: u64,
}

/// An event that a consumer took.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Taken {
    /// Of version 7: it tells when the event was made.
    pub(crate) id: String,
    pub(crate) began_us: i64,
    pub(crate) service_ms: f64,
    pub(crate) instance: String,
    pub(crate) partition: String,
}

/// Work that is counted rather than timed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Calls {
    pub(crate) database: u64,
    pub(crate) hashes: u64,
}

impl Telemetry {
    pub(crate) fn new(address: &str) -> anyhow::Result<Telemetry> {
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).build().context("could not make an HTTP client")?;
        Ok(Telemetry { http, url: format!("http://{address}/v1/sql") })
    }

    async fn rows<T: DeserializeOwned>(&self, sql: String) -> anyhow::Result<Vec<T>> {
        let answer = self.http.post(&self.url).body(sql).send().await.context("the query node does not answer")?;
        if !answer.status().is_success() {
            anyhow::bail!("the query node refused a question: {}", answer.text().await?);
        }
        answer.json().await.context("the query node answered something else than rows")
    }

    async fn row<T: DeserializeOwned>(&self, sql: String) -> anyhow::Result<T> {
        self.rows(sql).await?.pop().context("the query node answered without a row")
    }

    /// What each service said since then. One that said nothing is missing.
    pub(crate) async fn lag(&self, since_us: i64) -> anyhow::Result<Vec<Lag>> {
        self.rows(within(LAG, Period { from_us: since_us, to_us: i64::MAX / 1_000 })).await
    }

    pub(crate) async fn indicators(&self, period: Period) -> anyhow::Result<Indicators> {
        #[derive(Deserialize)]
        struct Row {
            pool_wait_p95_ms: Option<f64>,
            statement_p95_ms: Option<f64>,
            calls_ms_per_request: Option<f64>,
            outbox_pending_max: Option<f64>,
            lag_max: Option<f64>,
        }
        let row: Row = self.row(within(INDICATORS, period)).await?;
        Ok(Indicators {
            product_cpu_pct: None,
            product_core_busy_pct: None,
            pool_wait_p95_ms: row.pool_wait_p95_ms,
            statement_p95_ms: row.statement_p95_ms,
            calls_ms_per_request: row.calls_ms_per_request,
            outbox_pending_max: row.outbox_pending_max,
            lag_max: row.lag_max,
        })
    }

    pub(crate) async fn calls(&self, period: Period) -> anyhow::Result<Calls> {
        self.row(within(CALLS, period)).await
    }

    /// Every event that `service` took in a period.
    pub(crate) async fn taken(&self, service: &str, period: Period) -> anyhow::Result<Vec<Taken>> {
        self.rows(within(TAKEN, period).replace("$service", service)).await
    }

    /// Where the time of requests to `name` went: their number, and the parts in milliseconds of the mean request.
    pub(crate) async fn breakdown(&self, name: &str, period: Period) -> anyhow::Result<(u64, Vec<PartOfTime>)> {
        #[derive(Deserialize)]
        struct Row {
            part: String,
            ms: f64,
            requests: u64,
        }
        let rows: Vec<Row> = self.rows(within(BREAKDOWN, period).replace("$name", name)).await?;
        let total: f64 = rows.iter().map(|row| row.ms).sum();
        let requests = rows.first().map_or(0, |row| row.requests);
        let parts = rows.into_iter().map(|row| PartOfTime {
            share_pct: 100.0 * row.ms / total.max(f64::MIN_POSITIVE),
            name: row.part,
            ms: row.ms,
        });
        Ok((requests, parts.collect()))
    }

    pub(crate) async fn delays(&self, period: Period, arm: super::arm::Arm, rate: f64) -> anyhow::Result<Vec<Delay>> {
        #[derive(Deserialize)]
        struct Row {
            effect: String,
            count: u64,
            p50_ms: f64,
            p95_ms: f64,
            max_ms: f64,
        }
        let rows: Vec<Row> = self.rows(within(DELAYS, period)).await?;
        Ok(rows
            .into_iter()
            .map(|Row { effect, count, p50_ms, p95_ms, max_ms }| Delay {
                arm,
                rate,
                effect,
                count,
                p50_ms,
                p95_ms,
                max_ms,
            })
            .collect())
    }

    /// Seconds from the begin of the period until the last moment at which more events than `usual` waited; 0 without one.
    pub(crate) async fn waited_s(&self, period: Period, usual: f64) -> anyhow::Result<f64> {
        #[derive(Deserialize)]
        struct Row {
            seconds: Option<f64>,
        }
        let row: Row = self.row(within(WAITED, period).replace("$usual", &format!("{usual:.1}"))).await?;
        Ok(row.seconds.unwrap_or(0.0).max(0.0))
    }
}

fn within(sql: &str, period: Period) -> String {
    sql.replace("$from", &format!("to_timestamp_micros({})", period.from_us))
        .replace("$to", &format!("to_timestamp_micros({})", period.to_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every question can be planned by the query node's engine: names of columns and functions exist.
    #[tokio::test]
    async fn every_question_is_understood_by_the_query_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = query::Args {
            data_dir: folder.path().to_owned(),
            query_listen: "127.0.0.1:0".parse().expect("an address"),
            limits: query::Limits::default(),
        };
        let server = query::Server::bind(args).await.expect("a free port");
        let telemetry = Telemetry::new(&server.address().to_string()).expect("a client");
        let stop = tokio_util::sync::CancellationToken::new();
        let serving = tokio::spawn(server.run(stop.clone()));

        let period = Period { from_us: 0, to_us: 2_000_000 };
        assert!(telemetry.lag(0).await.expect("lag").is_empty());
        assert_eq!(telemetry.indicators(period).await.expect("indicators").lag_max, None);
        assert_eq!(telemetry.calls(period).await.expect("calls").database, 0);
        assert!(telemetry.taken("jobs", period).await.expect("taken").is_empty());
        assert!(telemetry.breakdown("POST /v1/payments", period).await.expect("breakdown").1.is_empty());
        assert!(telemetry.delays(period, crate::experiment::arm::Arm::Events, 1.0).await.expect("delays").is_empty());
        assert_eq!(telemetry.waited_s(period, 0.0).await.expect("waited"), 0.0);
        stop.cancel();
        serving.await.expect("it ends").expect("and well");
    }
}
