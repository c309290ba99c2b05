//! Asks SQL what became of a run.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::template::Template;
use super::{Args, Kind};

/// A row is visible a second after its success at the latest; a busy machine may need longer to count millions.
const VISIBLE_TIME_MAX: Duration = Duration::from_secs(30);
const QUERY_TIME_MAX: Duration = Duration::from_secs(120);
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// What SQL found of a run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Stored {
    pub(crate) rows: u64,
    pub(crate) distinct: u64,
}

impl Stored {
    /// Every accepted record is there, none twice, and nothing that was never sent.
    pub(crate) fn complete(&self, accepted: u64, unknown: u64) -> bool {
        self.distinct == self.rows && (accepted..=accepted + unknown).contains(&self.rows)
    }

    pub(crate) fn difference(&self, accepted: u64) -> String {
        let Stored { rows, distinct } = self;
        format!("{accepted} records were accepted, SQL finds {rows} rows with {distinct} distinct ids")
    }
}

/// Asks until every accepted row is visible or the time is up, and gives the last answer.
pub(crate) async fn stored(args: &Args, template: &Template, accepted: u64) -> anyhow::Result<Stored> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(QUERY_TIME_MAX)
        .build()
        .context("could not build an HTTP client")?;
    let url = format!("{}/v1/sql", args.query_url.trim_end_matches('/'));
    let sql = question(template);
    let deadline = Instant::now() + VISIBLE_TIME_MAX;
    loop {
        let stored = ask(&client, &url, &sql).await?;
        if stored.rows >= accepted || Instant::now() >= deadline {
            return Ok(stored);
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

async fn ask(client: &reqwest::Client, url: &str, sql: &str) -> anyhow::Result<Stored> {
    let response =
        client.post(url).body(sql.to_owned()).send().await.with_context(|| format!("could not ask {url}"))?;
    let (status, body) = (response.status(), response.text().await.with_context(|| format!("{url} broke off"))?);
    if !status.is_success() {
        bail!("{url} answered {status}: {body}");
    }
    let rows: Vec<Stored> = serde_json::from_str(&body).with_context(|| format!("{url} gave no rows: {body}"))?;
    rows.first().copied().with_context(|| format!("{url} gave no row for a count"))
}

fn question(template: &Template) -> String {
    let (table, id) = match template.kind {
        Kind::Traces => ("spans", "span_id"),
        Kind::Logs => ("logs", "span_id"),
        Kind::Metrics => ("metrics", "attributes['bench.point']"),
    };
    let service = &template.service;
    format!("SELECT count(*) AS rows, count(DISTINCT {id}) AS distinct FROM {table} WHERE service = '{service}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_invented_rows_are_told_apart_from_a_complete_run() {
        let stored = |rows, distinct| Stored { rows, distinct };
        assert!(stored(1000, 1000).complete(1000, 0));
        assert!(stored(1500, 1500).complete(1000, 500), "a request without an answer may have been kept");
        assert!(!stored(999, 999).complete(1000, 0), "lost");
        assert!(!stored(1000, 999).complete(1000, 0), "doubled");
        assert!(!stored(1501, 1501).complete(1000, 500), "never sent");
    }
}
