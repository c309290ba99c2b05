//! `faultline product deploy`, `rollback` and `deploys`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::door::{At, Door};
use crate::commands::sql::print;
use crate::up::deploy::{self, State};
use crate::up::duration;
use crate::up::watch::Lines;

pub(super) const EXAMPLES: &str = "\
What happens: the new version starts beside the old one and takes over its port, the old one finishes what it has and ends, and
for the time of --watch the telemetry of the new one decides. No request is refused and no event is lost, whichever way it ends.

Examples:
  faultline product deploy jobs --version 1.4.0
  faultline product deploy core --version 1.4.0 --program target/release/faultline --watch 2m
  faultline product deploy jobs --version 1.5.0 --env FAULTLINE_WEBHOOK_TIMEOUT_MS=500
  faultline product rollback jobs
  faultline sql \"SELECT time, event_name, attributes['deploy.reason'] FROM logs WHERE event_name LIKE 'faultline.deploy.%'\"";

/// Between two looks at a deploy under way.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Deploy {
    /// core, jobs or analytics.
    part: String,
    /// `service.version` of the new version, in its telemetry and in this command's history.
    #[arg(long)]
    version: String,
    /// A variable of the new version, e.g. FAULTLINE_WEBHOOK_TIMEOUT_MS=500; wins over what `up` was told. May be repeated.
    #[arg(long = "env", value_parser = variable, value_name = "NAME=VALUE")]
    environment: Vec<(String, String)>,
    /// Program of the new version; it is called like this one. This one by default.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// How long the new version is watched before it stays. 0s does not watch.
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    watch: Duration,
    /// Share of its requests and messages that may fail, in per cent; at least five failures count.
    #[arg(long, default_value_t = 5.0, value_name = "PER CENT")]
    errors_max_pct: f64,
    /// Messages that may wait for it beyond those that waited before: ten seconds of a busy hour.
    #[arg(long, default_value_t = 200, value_name = "MESSAGES")]
    lag_max: i64,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Rollback {
    /// core, jobs or analytics.
    part: String,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn begin(deploy: Deploy) -> anyhow::Result<()> {
    let program = deploy
        .program
        .map(|path| std::fs::canonicalize(&path).with_context(|| format!("there is no program {}", path.display())));
    let order = deploy::Order {
        part: deploy.part,
        version: deploy.version,
        environment: deploy.environment.into_iter().collect(),
        program: program.transpose()?,
        watch_s: deploy.watch.as_secs(),
        lines: Lines { errors_max_pct: deploy.errors_max_pct, lag_max: deploy.lag_max },
    };
    let door = deploy.at.door()?;
    let begun = door.post("/deploys", &order).await?;
    follow(&door, begun).await
}

pub(crate) async fn roll_back(rollback: Rollback) -> anyhow::Result<()> {
    let door = rollback.at.door()?;
    let begun = door.post(&format!("/deploys/{}/rollback", rollback.part), &()).await?;
    follow(&door, begun).await
}

pub(crate) async fn list(at: At) -> anyhow::Result<()> {
    let all: Vec<deploy::Deploy> = at.door()?.get("/deploys").await?;
    if all.is_empty() {
        return print(b"nothing was deployed; `faultline product deploy jobs --version 1.4.0` would\n");
    }
    let line = |deploy: &deploy::Deploy| {
        let last = deploy.steps.last().map_or("", |step| step.text.as_str());
        let deploy::Deploy { id, part, from, to, state, .. } = deploy;
        format!("{id:>3}  {part:<10} {from} -> {to}  {}  {last}\n", said(*state))
    };
    print(all.iter().map(line).collect::<String>().as_bytes())
}

/// Prints each step as it comes; an error unless the new version stays.
async fn follow(door: &Door, mut deploy: deploy::Deploy) -> anyhow::Result<()> {
    print(format!("{}: {} -> {}\n", deploy.part, deploy.from, deploy.to).as_bytes())?;
    let mut shown = 0;
    loop {
        for step in &deploy.steps[shown..] {
            print(format!("{:>7.1} s  {}\n", step.after_ms as f64 / 1_000.0, step.text).as_bytes())?;
        }
        shown = deploy.steps.len();
        if deploy.state.is_final() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        deploy = door.get(&format!("/deploys/{}", deploy.id)).await?;
    }
    match deploy.state {
        State::Finished => print(format!("{} {} runs\n", deploy.part, deploy.to).as_bytes()),
        State::RolledBack => bail!("rolled back: {} {} runs as before", deploy.part, deploy.from),
        state => bail!("{}", said(state)),
    }
}

fn said(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Watched => "watched",
        State::Finished => "finished",
        State::RolledBack => "rolled back",
        State::Failed => "failed",
        State::Interrupted => "interrupted",
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or(format!("{text:?} is no variable; write NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
