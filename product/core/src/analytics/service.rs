//! The analytics service over HTTP.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context;
use observe::http::Client;
use product_analytics::reports::{Query, Report};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Long for an aggregate over indexed rows; whoever looks at a dashboard waits no longer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Service {
    client: Client,
    base: String,
    token: Option<String>,
}

/// What the service knew at a watermark.
#[derive(Deserialize)]
pub(super) struct Candidate {
    /// Events up to the watermark that it has counted.
    pub(super) applied: i64,
    pub(super) rows: Vec<Value>,
}

impl Service {
    pub(super) fn new(base: &str, token: Option<String>) -> Service {
        Service { client: Client::new(ANSWER_MAX), base: base.trim_end_matches('/').to_owned(), token }
    }

    pub(super) async fn rows(&self, report: Report, query: &Query) -> anyhow::Result<Vec<Value>> {
        self.get(&format!("/v1/analytics/{report}?{}", parameters(query))).await
    }

    /// The rows as of outbox row `through`; rows up to `after` are not known on our side any more.
    pub(super) async fn rows_at(
        &self,
        report: Report,
        query: &Query,
        (after, through): (i64, i64),
    ) -> anyhow::Result<Candidate> {
        let parameters = parameters(query);
        self.get(&format!("/internal/reports/{report}?through={through}&after={after}&{parameters}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let answer = request.send().await.context("could not reach the analytics service")?.error_for_status()?;
        answer.json().await.context("its answer makes no sense")
    }
}

/// Days and numbers, which mean themselves in a URL.
fn parameters(query: &Query) -> String {
    let mut text = String::new();
    let days = [("from", query.from), ("to", query.to)];
    for (name, day) in days.into_iter().filter_map(|(name, day)| Some((name, day?))) {
        let _ = write!(text, "{name}={day}&"); // a String takes everything
    }
    if let Some(limit) = query.limit {
        let _ = write!(text, "limit={limit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_sent() {
        let query = Query { from: "2026-11-01".parse().ok(), to: None, limit: Some(5) };
        assert_eq!(parameters(&query), "from=2026-11-01&limit=5");
        assert_eq!(parameters(&Query::default()), "");
    }
}
