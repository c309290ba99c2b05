//! The switches of a running stack, pulled as anyone would: modes over HTTP, faults by `faultline product fault`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

/// The concerns that core routes.
pub(crate) const CONCERNS: [&str; 2] = ["jobs", "analytics"];

/// Core's switch of modes.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) http: reqwest::Client,
    /// `http://127.0.0.1:7001/internal/modes`
    pub(crate) url: String,
}

impl Orders {
    /// Sends all traffic of a concern one way.
    pub(crate) async fn one(&self, concern: &str, mode: &str) -> anyhow::Result<()> {
        let order = json!({"mode": mode, "percent": 100, "force": true});
        let put = self.http.put(format!("{}/{concern}", self.url)).json(&order);
        let answer = put.send().await.context("core does not take orders")?;
        if !answer.status().is_success() {
            bail!("core did not switch {concern} to {mode}: {} {}", answer.status(), answer.text().await?);
        }
        Ok(())
    }

    pub(crate) async fn all(&self, mode: &str) -> anyhow::Result<()> {
        for concern in CONCERNS {
            self.one(concern, mode).await?;
        }
        Ok(())
    }
}

/// Switches faults of the stack as anyone would: `faultline product fault …`.
#[derive(Clone, Debug)]
pub(crate) struct FaultSwitch {
    /// Of the `up` that is meant.
    pub(crate) data_dir: PathBuf,
}

impl FaultSwitch {
    pub(crate) async fn on(&self, words: &[&str], time: Duration) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("could not find our own program")?;
        let output = tokio::process::Command::new(program)
            .args(["product", "fault"])
            .args(words)
            .arg(format!("--for={}s", time.as_secs()))
            .arg(format!("--data-dir={}", self.data_dir.display()))
            .kill_on_drop(true)
            .output()
            .await
            .context("could not start `faultline product fault`")?;
        if !output.status.success() {
            bail!("the fault {words:?} could not be switched on: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
