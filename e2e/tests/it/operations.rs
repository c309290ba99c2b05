//! Operating the product under load: deploys, rollbacks and faults that customers do not notice, and that lose nothing.

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::{Process, Query};
use serde_json::Value;

const NOTHING: [Value; 0] = [];

/// A stack under load, and the commands that are typed beside it.
pub(crate) struct Stack {
    up: Process,
    folder: tempfile::TempDir,
    pub(crate) query: Query,
    _turn: e2e::Turn,
}

impl Stack {
    pub(crate) async fn start(more: &[&str]) -> anyhow::Result<Stack> {
        let turn = e2e::Turn::take();
        let folder = tempfile::tempdir()?;
        let offset = e2e::free_port_offset();
        let (path, port_offset) = (folder.path().display().to_string(), offset.to_string());
        let usual =
            ["up", "--no-tui", "--for", "10m", "--load", "15", "--drain-max", "150s", "--port-offset", &port_offset];
        let up = Process::start(usual.into_iter().chain(["--data-dir", &path]).chain(more.iter().copied()));
        let stack = Stack { up, folder, query: Query::at(7317 + offset), _turn: turn };
        stack.payments(20).await?;
        Ok(stack)
    }

    /// `faultline product …` in a process of its own.
    async fn product(&self, words: &[&str]) -> anyhow::Result<Output> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let folder = self.folder.path().to_owned();
        let typed = move || {
            let folder = folder.display().to_string();
            let words = words.iter().map(String::as_str);
            Process::start(["product"].into_iter().chain(words).chain(["--data-dir", &folder])).output()
        };
        Ok(tokio::task::spawn_blocking(typed).await?)
    }

    /// The same, and it went well.
    pub(crate) async fn done(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.product(words).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(output.status.success(), "{words:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// Waits until so many payments have been acknowledged in all.
    async fn payments(&self, count: usize) -> anyhow::Result<()> {
        let ledger = ledger(self.folder.path());
        e2e::wait_for("payments", || async {
            let text = tokio::fs::read_to_string(&ledger).await.ok()?;
            (text.matches("payment.captured").count() >= count).then_some(())
        })
        .await
    }

    async fn more_payments(&self, count: usize) -> anyhow::Result<()> {
        let so_far = tokio::fs::read_to_string(ledger(self.folder.path())).await?;
        self.payments(so_far.matches("payment.captured").count() + count).await
    }

    /// How many events of this name the telemetry holds, once there is one.
    async fn told(&self, event: &str) -> anyhow::Result<i64> {
        let sql = format!("SELECT count(*) FROM logs WHERE event_name = '{event}'");
        e2e::wait_for(event, || async { self.query.number(&sql).await.ok().filter(|count| *count > 0) }).await
    }

    /// Versions that a service has said it is, oldest first.
    async fn versions(&self, service: &str) -> anyhow::Result<Vec<String>> {
        let sql = format!(
            "SELECT resource['service.version'] AS version, min(time) AS since FROM spans WHERE service = '{service}' \
             GROUP BY 1 ORDER BY 2"
        );
        let rows = self.query.sql(&sql).await?;
        Ok(rows.iter().filter_map(|row: &Value| row["version"].as_str().map(str::to_owned)).collect())
    }

    /// Requests of customers that failed, in the words of the customers.
    async fn failed_requests(&self) -> anyhow::Result<Vec<Value>> {
        let sql = "SELECT time, body FROM logs WHERE service = 'load' AND body LIKE '% failed: %' ORDER BY time";
        self.query.sql(sql).await
    }

    /// Stops everything; the account has to be clean.
    pub(crate) fn end(self) -> String {
        self.up.signal(libc::SIGINT);
        let output = self.up.output();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
        report
    }
}

fn ledger(folder: &Path) -> PathBuf {
    folder.join("product/ledger.jsonl")
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_is_replaced_and_put_back_under_load_and_nobody_notices() -> anyhow::Result<()> {
    let stack = Stack::start(&[]).await?;
    let deployed = stack.done(&["deploy", "jobs", "--version", "1.4.0", "--watch", "15s"]).await?;
    assert!(deployed.contains("1.4.0 is well"), "{deployed}");
    stack.more_payments(20).await?;
    stack.done(&["rollback", "jobs"]).await?;
    stack.more_payments(20).await?;
    e2e::wait_for("spans of both versions", || async {
        let versions = stack.versions("jobs").await.ok()?;
        (versions.len() == 2 && versions[1] == "1.4.0").then_some(())
    })
    .await?;
    assert_eq!(
        (stack.told("faultline.deploy.finished").await?, stack.told("faultline.deploy.rolled_back").await?),
        (1, 1)
    );
    let nothing_left = String::from_utf8(stack.product(&["rollback", "jobs"]).await?.stderr)?;
    assert!(nothing_left.contains("nothing to go back to"), "{nothing_left}");
    assert_eq!(stack.failed_requests().await?, NOTHING);
    stack.end();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hands_its_port_over_and_no_request_fails() -> anyhow::Result<()> {
    let stack = Stack::start(&[]).await?;
    stack.done(&["deploy", "core", "--version", "2.0.0", "--watch", "10s"]).await?;
    stack.more_payments(20).await?;
    e2e::wait_for("spans of both versions", || async {
        (stack.versions("core").await.ok()?.last()? == "2.0.0").then_some(())
    })
    .await?;
    assert_eq!(stack.failed_requests().await?, NOTHING);
    stack.end();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_taken_back_by_itself_and_its_harm_repaired() -> anyhow::Result<()> {
    let stack = Stack::start(&[]).await?;
    // Nobody listens there: every webhook of this version fails.
    let bad = ["deploy", "jobs", "--version", "1.4.1", "--env", "FAULTLINE_WEBHOOK_URL=http://127.0.0.1:9"];
    let output = stack.product(&bad).await?;
    let (text, error) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(!output.status.success() && error.contains("rolled back"), "{text}\n{error}");
    assert!(text.contains("messages failed"), "{text}");
    assert_eq!(stack.told("faultline.deploy.rolled_back").await?, 1);
    let running: String = stack.done(&["parts"]).await?;
    assert!(!running.contains("1.4.1"), "{running}");
    assert_eq!(stack.failed_requests().await?, NOTHING);
    stack.end();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_held_down_leave_payments_alone_and_catch_up() -> anyhow::Result<()> {
    let stack = Stack::start(&[]).await?;
    stack.done(&["fault", "service-down", "jobs", "--for", "10m"]).await?;
    stack.done(&["fault", "service-down", "analytics", "--for", "10m"]).await?;
    let twice = String::from_utf8(stack.product(&["fault", "service-down", "jobs"]).await?.stderr)?;
    assert!(twice.contains("already at work"), "{twice}");
    stack.more_payments(40).await?;
    let down = stack.done(&["parts"]).await?;
    assert_eq!(down.matches("held down").count(), 2, "{down}");
    let sql = "SELECT count(*) FROM logs WHERE service = 'load' AND body LIKE 'POST /v1/payments failed%'";
    assert_eq!(stack.query.number(sql).await?, 0);
    stack.done(&["fault", "service-down", "jobs", "--end"]).await?;
    assert_eq!(stack.told("faultline.fault.started").await?, 2);
    // The other ends with `up`, which lets everything arrive before it accounts for it.
    let report = stack.end();
    assert!(report.contains("nothing lost"), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_with_the_next_step() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let nowhere = folder.path().display().to_string();
    let output = Process::start(["product", "parts", "--data-dir", &nowhere]).output();
    let error = String::from_utf8(output.stderr)?;
    assert!(error.contains("no `faultline up` runs on") && error.lines().count() == 1, "{error}");

    let stack = Stack::start(&["--without", "analytics"]).await?;
    for (words, sentence) in [
        (&["fault", "jobs-stuk"][..], "faultline product faults"),
        (&["fault", "broker-down", "jobs"], "leave the name of a part out"),
        (&["fault", "network-delay"], "--proxied"),
        (&["fault", "service-down", "analytics"], "does not run the analytics"),
        (&["deploy", "broker", "--version", "1"], "core, jobs, analytics"),
        (&["deploy", "jobs", "--version", "1 4"], "is no version"),
    ] {
        let output = stack.product(words).await?;
        let error = String::from_utf8(output.stderr)?;
        assert!(
            !output.status.success() && error.contains(sentence) && error.lines().count() == 1,
            "{words:?}: {error}"
        );
    }
    // A version that does not even start is no danger at all.
    let absent = ["deploy", "jobs", "--version", "1.4.2", "--program", "/bin/false"];
    let output = stack.product(&absent).await?;
    assert!(String::from_utf8(output.stdout)?.contains("never stopped"));
    Ok(())
}
