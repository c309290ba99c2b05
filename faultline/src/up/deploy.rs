//! Deploys that can be taken back: the new version comes up beside the old one, takes over its port, is watched through its own
//! telemetry, and goes if it is worse than allowed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::part::Part;
use super::question::Questions;
use super::stack::{Change, Claim, Stack, part_named};
use super::watch::{Lines, Verdict, Watched};

/// Deploys that are remembered, newest last: what a person may want to look back on.
const REMEMBERED_MAX: usize = 100;
/// Between two looks at a deploy that somebody waits for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A query node that needs longer for one look is too busy to watch by.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A deploy that is watched for longer is an experiment.
const WATCH_S_MAX: u64 = 3_600;

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) part: String,
    pub(crate) version: String,
    /// Variables of the new version.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Another program than ours.
    #[serde(default)]
    pub(crate) program: Option<PathBuf>,
    #[serde(default = "watch_s_default")]
    pub(crate) watch_s: u64,
    #[serde(flatten)]
    pub(crate) lines: Lines,
}

fn watch_s_default() -> u64 {
    30
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Starting,
    Watched,
    Finished,
    RolledBack,
    /// Neither version runs as it should; the last step says what happened.
    Failed,
    /// `up` ended before the watch did, and went back to what was known to be well.
    Interrupted,
}

impl State {
    pub(crate) fn is_final(self) -> bool {
        !matches!(self, State::Starting | State::Watched)
    }
}

/// One deploy, from its order to what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deploy {
    pub(crate) id: u64,
    pub(crate) part: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) state: State,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Since the order.
    pub(crate) after_ms: u64,
    pub(crate) text: String,
}

pub(crate) struct Deploys {
    stack: Arc<Stack>,
    questions: Questions,
    history: Mutex<Vec<Deploy>>,
    /// What runs of each part, over what ran before: empty while it is as `up` started it.
    versions: Mutex<BTreeMap<Part, Vec<Change>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Deploys {
    pub(crate) fn new(stack: Arc<Stack>) -> anyhow::Result<Arc<Deploys>> {
        Ok(Arc::new(Deploys {
            questions: Questions::to(&stack.args.text("query_listen"), ANSWER_MAX)?,
            stack,
            history: Mutex::default(),
            versions: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Begins a deploy and returns it; what becomes of it is seen by its id.
    pub(crate) fn begin(self: &Arc<Self>, order: Order) -> anyhow::Result<Deploy> {
        let part = deployable(&order.part)?;
        check_version(&order.version)?;
        anyhow::ensure!(order.watch_s <= WATCH_S_MAX, "a deploy is watched for {WATCH_S_MAX} s at most");
        let to = Change {
            version: order.version,
            environment: order.environment.into_iter().collect(),
            program: order.program,
        };
        let watch = Duration::from_secs(order.watch_s);
        if !watch.is_zero() && !self.stack.runs(Part::Query) {
            bail!("without the query node nobody can watch the new version; add --watch 0s to deploy unwatched");
        }
        self.start(part, to, "deploy", move |run| async move { run.forward(watch, order.lines).await })
    }

    /// Brings back what ran before the last deploy.
    pub(crate) fn roll_back(self: &Arc<Self>, part: &str) -> anyhow::Result<Deploy> {
        let part = deployable(part)?;
        let to = {
            let versions = self.versions();
            let Some([under @ .., _]) = versions.get(&part).map(Vec::as_slice) else {
                bail!("the {} runs as `up` started it, there is nothing to go back to", part.name());
            };
            under.last().cloned().unwrap_or_default()
        };
        self.start(part, to, "rollback", |run| async move { run.back().await })
    }

    pub(crate) fn all(&self) -> Vec<Deploy> {
        self.history().clone()
    }

    pub(crate) fn one(&self, id: u64) -> Option<Deploy> {
        self.history().iter().find(|deploy| deploy.id == id).cloned()
    }

    /// What became of a deploy, once it is over; none if nobody remembers it.
    pub(crate) async fn outcome(&self, id: u64) -> Option<State> {
        loop {
            match self.one(id)?.state {
                state if state.is_final() => return Some(state),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Ends the watching, and waits for what cannot be left half done.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start<F: Future<Output = State> + Send + 'static>(
        self: &Arc<Self>,
        part: Part,
        to: Change,
        what: &str,
        work: impl FnOnce(Run) -> F,
    ) -> anyhow::Result<Deploy> {
        let claim = self.stack.claim(part, &format!("a {what} of the {}", part.name()))?;
        let (_, launch) = self.stack.newest(part)?;
        let from = self.versions().get(&part).and_then(|versions| versions.last()).cloned().unwrap_or_default();
        let to_version = self.stack.launch(part, &to)?.version;
        let mut history = self.history();
        let deploy = Deploy {
            id: history.last().map_or(1, |last| last.id + 1),
            part: part.name().to_owned(),
            from: launch.version,
            to: to_version,
            state: State::Starting,
            steps: Vec::new(),
        };
        if history.len() == REMEMBERED_MAX {
            history.remove(0);
        }
        history.push(deploy.clone());
        drop(history);
        let run = Run {
            deploys: self.clone(),
            part,
            id: deploy.id,
            names: (deploy.from.clone(), deploy.to.clone()),
            from,
            to,
            began: Instant::now(),
            _claim: claim,
        };
        let (deploys, id, work) = (self.clone(), deploy.id, work(run));
        self.tasks.spawn(async move {
            let state = work.await;
            deploys.change(id, |deploy| deploy.state = state);
        });
        Ok(deploy)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Deploy)) {
        if let Some(deploy) = self.history().iter_mut().find(|deploy| deploy.id == id) {
            change(deploy);
        }
    }

    fn history(&self) -> MutexGuard<'_, Vec<Deploy>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<Part, Vec<Change>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A deploy under way.
struct Run {
    deploys: Arc<Deploys>,
    part: Part,
    id: u64,
    /// Versions, old and new, as telemetry names them.
    names: (String, String),
    from: Change,
    to: Change,
    began: Instant,
    _claim: Claim,
}

impl Run {
    async fn forward(self, watch: Duration, lines: Lines) -> State {
        let (service, (old, new)) = (self.part.name(), &self.names);
        info!(name: "faultline.deploy.started", { deploy.service = service, deploy.from = old, deploy.to = new },
"deploying {service} {new}, {old} runs");
        let lag_before = self.lag_before().await;
        if let Err(error) = self.replace(&self.to).await {
            self.step(format!("{new} did not come up, {old} was never stopped: {error:#}"));
            return self.rolled_back("it did not come up");
        }
        let why = match self.watch(watch, &lines, lag_before).await {
            Verdict::Well => {
                self.deploys.versions().entry(self.part).or_default().push(self.to.clone());
                self.step(format!("{new} is well"));
                info!(name: "faultline.deploy.finished", { deploy.service = service, deploy.from = old, deploy.to = new },
"{service} {new} is deployed");
                return State::Finished;
            }
            Verdict::Interrupted => {
                self.step(format!("nobody knows yet whether {new} is well, and `up` ends: going back to {old}"));
                return match self.replace(&self.from).await {
                    Ok(()) => State::Interrupted,
                    Err(error) => self.failed(&format!("{old} did not come up again: {error:#}")),
                };
            }
            Verdict::Crossed(why) => why,
        };
        self.step(format!("{why}: going back to {old}"));
        match self.replace(&self.from).await {
            Ok(()) => self.rolled_back(&why),
            Err(error) => self.failed(&format!("{old} did not come up again, {new} stays: {error:#}")),
        }
    }

    async fn back(self) -> State {
        match self.replace(&self.to).await {
            Ok(()) => {
                self.deploys.versions().entry(self.part).or_default().pop();
                self.step(format!("{} runs again", self.names.1));
                self.rolled_back("somebody asked for it");
                State::Finished
            }
            Err(error) => self.failed(&format!("{} did not come up, {} stays: {error:#}", self.names.1, self.names.0)),
        }
    }

    async fn replace(&self, change: &Change) -> anyhow::Result<()> {
        let launch = self.deploys.stack.launch(self.part, change)?;
        let version = launch.version.clone();
        self.deploys.stack.replace(self.part, launch, |step| self.step(format!("{version} {step}"))).await
    }

    async fn lag_before(&self) -> i64 {
        let Ok(old) = self.watched() else { return 0 };
        let seen = old.look(&self.deploys.questions, self.deploys.stack.started.elapsed()).await;
        // What is not known is taken as nothing: then the line is strict.
        seen.ok().and_then(|seen| seen.lag).unwrap_or(0)
    }

    async fn watch(&self, time: Duration, lines: &Lines, lag_before: i64) -> Verdict {
        if time.is_zero() {
            return Verdict::Well;
        }
        self.step(format!("watched for {} s", time.as_secs()));
        self.deploys.change(self.id, |deploy| deploy.state = State::Watched);
        let (watched, failed) = match (self.watched(), self.deploys.stack.failed(self.part)) {
            (Ok(watched), Ok(failed)) => (watched, failed),
            (Err(error), _) | (_, Err(error)) => return Verdict::Crossed(format!("{error:#}")),
        };
        tokio::select! {
            verdict = watched.watch(&self.deploys.questions, time, lines, lag_before, &self.deploys.stop) => verdict,
            () = failed => Verdict::Crossed("it ended, and nobody had asked it to".to_owned()),
        }
    }

    fn watched(&self) -> anyhow::Result<Watched> {
        let (pid, _) = self.deploys.stack.newest(self.part)?;
        let metric_interval = Duration::from_millis(self.deploys.stack.args.observe.metric_interval_ms);
        Ok(Watched { part: self.part, pid, metric_interval })
    }

    fn rolled_back(&self, why: &str) -> State {
        let (service, (old, new)) = (self.part.name(), &self.names);
        warn!(name: "faultline.deploy.rolled_back", { deploy.service = service, deploy.from = old, deploy.to = new,
            deploy.reason = why },
"{service} {new} against {old}, rolled back: {why}");
        State::RolledBack
    }

    fn failed(&self, why: &str) -> State {
        let service = self.part.name();
        self.step(why.to_owned());
        tracing::error!(name: "faultline.deploy.failed", { deploy.service = service, deploy.reason = why },
"the deploy of {service} failed: {why}");
        State::Failed
    }

    fn step(&self, text: String) {
        let after_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(deploy.service = self.part.name(), deploy.id = self.id, "{}: {text}", self.part.name());
        self.deploys.change(self.id, |deploy| deploy.steps.push(Step { after_ms, text }));
    }
}

/// Two instances of it can share a port, and what they share beside it.
fn deployable(name: &str) -> anyhow::Result<Part> {
    let part = part_named(name)?;
    let names =
        || Part::START_ORDER.into_iter().filter(|part| part.is_handed_over()).map(Part::name).collect::<Vec<_>>();
    Some(part)
        .filter(|part| part.is_handed_over())
        .with_context(|| format!("the {name} cannot be replaced while it runs; what can are {}", names().join(", ")))
}

/// It goes into telemetry and onto a command line.
fn check_version(version: &str) -> anyhow::Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte);
    anyhow::ensure!(
        (1..=64).contains(&version.len()) && version.bytes().all(plain),
        "{version:?} is no version; write letters, digits, dots and dashes, e.g. 1.4.0-rc.1"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_that_hand_over_their_port_can_be_deployed() {
        assert_eq!(deployable("jobs").ok(), Some(Part::Jobs));
        let error = deployable("broker").expect_err("it forgets").to_string();
        assert!(error.contains("core, jobs, analytics"), "{error}");
        assert!(deployable("nobody").is_err());
    }

    #[test]
    fn an_order_needs_only_a_part_and_a_version() {
        let order: Order = serde_json::from_str(r#"{"part": "jobs", "version": "1.4.0"}"#).expect("an order");
        assert_eq!((order.watch_s, order.lines.lag_max), (30, 200));
        assert!(check_version("1.4.0").is_ok() && check_version("1 4").is_err() && check_version("").is_err());
    }
}
