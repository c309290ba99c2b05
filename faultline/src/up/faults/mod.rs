//! Faults on a switch. Each is told in the telemetry when it starts and when it ends, and ends by itself: when its time is over,
//! when somebody says so, or with `up`.

mod catalogue;
mod effect;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::deploy::Deploys;
use super::stack::Stack;
pub(crate) use catalogue::{FAULTS, Fault};
use effect::{Effect, Field};

/// Nobody remembers a fault for longer than an hour.
const FOR_S_MAX: u64 = 3_600;

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) name: String,
    /// The part it is done to, where there is a choice.
    #[serde(default)]
    pub(crate) target: Option<String>,
    #[serde(default = "for_s_default")]
    pub(crate) for_s: u64,
}

fn for_s_default() -> u64 {
    60
}

/// A fault under way, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Active {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) left_s: u64,
}

pub(crate) struct Faults {
    field: Field,
    /// By name and target: the same fault may be at work in two places.
    active: Mutex<BTreeMap<(&'static str, String), Running>>,
    tasks: TaskTracker,
}

struct Running {
    until: Instant,
    end: CancellationToken,
}

impl Faults {
    pub(crate) fn new(stack: Arc<Stack>, deploys: Arc<Deploys>) -> Arc<Faults> {
        Arc::new(Faults { field: Field::new(stack, deploys), active: Mutex::default(), tasks: TaskTracker::new() })
    }

    /// Starts a fault; it is at work when this returns.
    pub(crate) async fn start(self: &Arc<Self>, order: Order) -> anyhow::Result<Active> {
        let fault = catalogue::named(&order.name)?;
        anyhow::ensure!((1..=FOR_S_MAX).contains(&order.for_s), "a fault lasts from 1 s to {FOR_S_MAX} s");
        let time = Duration::from_secs(order.for_s);
        let target = self.field.target(fault.kind, order.target.as_deref()).await?;
        let key = (fault.name, target.clone());
        let running = Running { until: Instant::now() + time, end: CancellationToken::new() };
        let end = running.end.clone();
        {
            let mut active = self.active();
            anyhow::ensure!(
                !active.contains_key(&key),
                "{} is already at work on the {target}; end it with `faultline product fault {} --end`",
                fault.name,
                fault.name
            );
            active.insert(key.clone(), running);
        }
        let effect = match self.field.start(fault.kind, &target, time).await {
            Ok(effect) => effect,
            Err(error) => {
                self.active().remove(&key);
                return Err(error);
            }
        };
        let (name, seconds) = (fault.name, order.for_s);
        info!(name: "faultline.fault.started", { fault.name = name, fault.target = target, fault.duration_s = seconds },
"{name} on the {target}, for {seconds} s");
        let faults = self.clone();
        self.tasks.spawn(async move { faults.until_over(fault, key, effect, time, end).await });
        Ok(Active { name: name.to_owned(), target, left_s: seconds })
    }

    async fn until_over(
        &self,
        fault: &'static Fault,
        key: (&'static str, String),
        effect: Effect,
        time: Duration,
        end: CancellationToken,
    ) {
        let _ = tokio::time::timeout(time, end.cancelled()).await;
        let ended = self.field.end(effect).await;
        let (name, target) = (fault.name, &key.1);
        match ended {
            Ok(()) => info!(name: "faultline.fault.ended", { fault.name = name, fault.target = target },
                "{name} on the {target} is over"),
            Err(error) => {
                let error = format!("{error:#}");
                error!(name: "faultline.fault.ended",
                    { fault.name = name, fault.target = target, exception.message = error },
                    "{name} on the {target} did not end well: {error}");
            }
        }
        self.active().remove(&key);
    }

    /// Ends the fault before its time, everywhere or at one target; returns when it is over.
    pub(crate) async fn end(&self, name: &str, target: Option<&str>) -> anyhow::Result<()> {
        let fault = catalogue::named(name)?;
        let mine = |key: &(&str, String)| key.0 == fault.name && target.is_none_or(|target| target == key.1);
        let mut ended = 0;
        for (_, running) in self.active().iter().filter(|(key, _)| mine(key)) {
            running.end.cancel();
            ended += 1;
        }
        anyhow::ensure!(ended > 0, "{name} is not at work; `faultline product faults` says what is");
        while self.active().keys().any(mine) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn shown(&self) -> Vec<Active> {
        let show = |((name, target), running): (&(&'static str, String), &Running)| Active {
            name: (*name).to_owned(),
            target: target.clone(),
            left_s: running.until.saturating_duration_since(Instant::now()).as_secs(),
        };
        self.active().iter().map(show).collect()
    }

    /// Ends all of them.
    pub(crate) async fn close(&self) {
        self.active().values().for_each(|running| running.end.cancel());
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Running>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
