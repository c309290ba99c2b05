//! The status line of a run without a screen: one SQL question to the query node, as anyone could ask it.

use std::time::Duration;

use serde::Deserialize;

use super::question::Questions;

/// A status line that comes late is better left out.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// Requests of the customers in the last ten seconds, and what is stored in all.
const SQL: &str = include_str!("status.sql");

#[derive(Deserialize)]
struct Status {
    requests: i64,
    errors: i64,
    p95_ms: Option<f64>,
    spans: i64,
    logs: i64,
    points: i64,
}

pub(crate) struct StatusLine(Questions);

impl StatusLine {
    pub(crate) fn new(query_address: &str) -> anyhow::Result<StatusLine> {
        Ok(StatusLine(Questions::to(query_address, ANSWER_MAX)?))
    }

    pub(crate) async fn read(&self) -> String {
        match self.0.row::<Status>(SQL).await {
            Ok(status) => status.text(),
            Err(error) => format!("the query node does not answer yet: {error}"),
        }
    }
}

impl Status {
    fn text(&self) -> String {
        let share = if self.requests > 0 { 100.0 * self.errors as f64 / self.requests as f64 } else { 0.0 };
        format!(
            "customers {:.1}/s, p95 {:.0} ms, {share:.1} % errors | stored: {} spans, {} logs, {} points",
            self.requests as f64 / 10.0,
            self.p95_ms.unwrap_or(0.0),
            self.spans,
            self.logs,
            self.points,
        )
    }
}
