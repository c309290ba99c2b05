//! `faultline product modes` and `faultline product mode`.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::said;
use crate::commands::sql::print;

pub(super) const EXAMPLES: &str = "\
inline   core does the work inside the request, as the monolith did
dual     core does it, the service does it as well without effect, and the two are compared
events   core writes an event, the service does the work later

More traffic for a service needs a comparison without mismatches, or --force. Going back is always allowed, and immediate.

Examples:
  faultline product modes
  faultline product mode jobs dual
  faultline product mode jobs events --percent 25
  faultline product mode analytics inline
  faultline sql \"SELECT time, attributes['concern'], attributes['to'] FROM logs WHERE event_name = 'faultline.mode.changed'\"";

/// Which core is meant.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct At {
    /// Base URL of core.
    #[arg(long, env = "FAULTLINE_TARGET", default_value = "http://127.0.0.1:7001", value_name = "URL")]
    core: String,
    /// What operators show core. None by default: core on this machine asks for none.
    #[arg(long, env = "FAULTLINE_OPERATOR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    operator_token: Option<String>,
}

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Mode {
    /// Whose work: jobs or analytics.
    #[arg(value_parser = ["jobs", "analytics"])]
    concern: String,
    /// Where it is done.
    #[arg(value_parser = ["inline", "dual", "events"])]
    mode: String,
    /// Share of the users, always the same ones; the rest stays in the mode before.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// Promote although the comparison does not allow it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct Route {
    mode: String,
    percent: u8,
    otherwise: String,
    #[serde(default)]
    comparison: Value,
}

impl Route {
    fn text(&self) -> String {
        let Route { mode, percent, otherwise, .. } = self;
        if *percent == 100 {
            mode.clone()
        } else {
            format!("{mode} for {percent} % of the users, {otherwise} for the rest")
        }
    }
}

pub(crate) async fn show(at: At) -> anyhow::Result<()> {
    let modes: Value = at.ask(reqwest::Method::GET, "", None).await?;
    let mut text = String::new();
    for concern in ["jobs", "analytics"] {
        let route: Route = serde_json::from_value(modes[concern].clone()).context("the answer makes no sense")?;
        text.push_str(&format!("{concern:<10} {}\n", route.text()));
        if let Some(matched) = route.comparison["matched"].as_i64().filter(|matched| *matched > 0) {
            let (mismatched, waiting) = (&route.comparison["mismatched"], &route.comparison["waiting"]);
            text.push_str(&format!("{:<10} compared: {matched} agree, {mismatched} differ, {waiting} wait\n", ""));
        }
        if let Some(reason) = route.comparison["reason"].as_str().filter(|_| route.mode == "dual") {
            text.push_str(&format!("{:<10} not to be promoted: {reason}\n", ""));
        }
    }
    print(text.as_bytes())
}

pub(crate) async fn change(Mode { concern, mode, percent, force, at }: Mode) -> anyhow::Result<()> {
    let body = json!({"mode": mode, "percent": percent, "force": force});
    let route: Route = at.ask(reqwest::Method::PUT, &format!("/{concern}"), Some(body)).await?;
    print(format!("{concern}: {}\n", route.text()).as_bytes())
}

impl At {
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<T> {
        let url = format!("{}/internal/modes{path}", self.core.trim_end_matches('/'));
        let mut request = reqwest::Client::new().request(method, &url);
        if let Some(token) = &self.operator_token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("no answer from {}; is core running there? (--core, --port-offset)", self.core))?;
        said(response).await
    }
}
