//! How each fault is done and undone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio_util::task::AbortOnDropHandle;

use super::catalogue::Kind;
use crate::up::deploy::{self, Deploys, State};
use crate::up::launch::Launch;
use crate::up::part::Part;
use crate::up::stack::{Change, Claim, Stack, part_named};
use crate::up::supervisor::{keep_output, signal};
use crate::up::watch::Lines;

/// A stub or a service that is told of a fault answers at once or is not there.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The slow broker: at work for a tenth of each second.
const PULSE_WORKS: Duration = Duration::from_millis(100);
const PULSE_RESTS: Duration = Duration::from_millis(900);
/// Whose consumers meet the malformed events.
const POISONED: &str = "payments";
/// One malformed event a second is a bug in one producer, not a flood.
const POISON_EVERY: Duration = Duration::from_secs(1);
/// Of a crowd that comes to a stack without customers.
const RATE_DEFAULT: f64 = 50.0;
/// Seconds' worth of requests that come at the same moment.
const HERD_TIMES: f64 = 4.0;
/// Longer than an acquirer's usual answer a hundred times over, shorter than core's patience.
const SLOW_MS: u64 = 2_000;

/// What there is to do faults to.
pub(super) struct Field {
    stack: Arc<Stack>,
    deploys: Arc<Deploys>,
    client: reqwest::Client,
}

/// What was done, as needed to undo it.
pub(super) enum Effect {
    /// Its processes are stopped.
    Stopped(Part),
    /// Held down; nobody else may start it meanwhile.
    Down(Part, Claim),
    /// Stopped and continued by a task, until it is dropped.
    Pulses(Part, AbortOnDropHandle<()>),
    /// Repeated by a task, until it is dropped.
    Repeated(AbortOnDropHandle<()>),
    /// A process that ends when it is told to.
    Process(Child),
    /// A version that has to go.
    Deployed(Part, u64),
    /// Told to a service, whose fault switch is at this address.
    Told(String),
    /// Ways that are bad until their proxies are told otherwise.
    Network(Vec<String>),
}

impl Field {
    pub(super) fn new(stack: Arc<Stack>, deploys: Arc<Deploys>) -> Field {
        Field { stack, deploys, client: reqwest::Client::new() }
    }

    /// Who it is done to: what was asked for, where there is a choice.
    pub(super) async fn target(&self, kind: Kind, wanted: Option<&str>) -> anyhow::Result<String> {
        let usual = match kind {
            Kind::ServiceDown | Kind::BadDeploy | Kind::JobsStuck => "jobs",
            Kind::CpuHog => "core",
            // The database follows the work.
            Kind::SlowAnalyticsQuery => {
                if self.is_inline("analytics").await {
                    "core"
                } else {
                    "analytics"
                }
            }
            Kind::LockContention => {
                if self.is_inline("jobs").await {
                    "core"
                } else {
                    "jobs"
                }
            }
            Kind::BrokerDown | Kind::BrokerSlow | Kind::PoisonMessage => "broker",
            Kind::AcquirerSlow | Kind::AcquirerFailing => "acquirer",
            Kind::MailRefusing | Kind::WebhookRefusing => "receiver",
            Kind::ThunderingHerd | Kind::ExpiredTokens | Kind::DiskFull => "core",
            Kind::MemoryPressure => "machine",
            Kind::NetworkDelay | Kind::NetworkLoss => "network",
        };
        let Some(wanted) = wanted.filter(|wanted| *wanted != usual) else { return Ok(usual.to_owned()) };
        let choice = matches!(
            kind,
            Kind::ServiceDown | Kind::BadDeploy | Kind::CpuHog | Kind::SlowAnalyticsQuery | Kind::LockContention
        );
        anyhow::ensure!(choice, "this fault is always done to the {usual}; leave the name of a part out");
        Ok(part_named(wanted)?.name().to_owned())
    }

    pub(super) async fn start(&self, kind: Kind, target: &str, time: Duration) -> anyhow::Result<Effect> {
        let for_s = time.as_secs();
        match kind {
            Kind::JobsStuck => self.freeze(Part::Jobs),
            Kind::ServiceDown => self.down(part_named(target)?).await,
            Kind::BrokerDown => self.down(Part::Broker).await,
            Kind::BrokerSlow => self.pulses(Part::Broker),
            Kind::AcquirerSlow => {
                self.told(Part::Acquirer, json!({"kind": "slow", "ms": SLOW_MS, "for_s": for_s})).await
            }
            Kind::AcquirerFailing => {
                self.told(Part::Acquirer, json!({"kind": "failing", "share": 0.5, "for_s": for_s})).await
            }
            Kind::MailRefusing => {
                self.told(Part::Receiver, json!({"kind": "refusing", "target": "mail", "for_s": for_s})).await
            }
            Kind::WebhookRefusing => {
                self.told(Part::Receiver, json!({"kind": "refusing", "target": "webhook", "for_s": for_s})).await
            }
            Kind::SlowAnalyticsQuery => self.hog(part_named(target)?, "slow-query", time),
            Kind::DiskFull => self.told(Part::Core, json!({"kind": "disk-full", "for_s": for_s})).await,
            Kind::ExpiredTokens => self.hog(Part::Core, "sessions", time),
            Kind::LockContention => self.hog(part_named(target)?, "lock", time),
            Kind::MemoryPressure => self.hog(Part::Load, "memory", time),
            Kind::CpuHog => self.hog(part_named(target)?, "cpu", time),
            Kind::ThunderingHerd => self.herd(time),
            Kind::NetworkDelay => self.network(json!({"delay_ms": 75, "jitter_ms": 50})).await,
            Kind::NetworkLoss => self.network(json!({"loss": 0.05})).await,
            Kind::BadDeploy => self.bad_deploy(part_named(target)?, time),
            Kind::PoisonMessage => self.poison().await,
        }
    }

    pub(super) async fn end(&self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Stopped(part) => self.stack.signal(part, libc::SIGCONT).map(drop),
            Effect::Down(part, _claim) => self.stack.let_up(part).await,
            Effect::Pulses(part, pulses) => {
                drop(pulses);
                self.stack.signal(part, libc::SIGCONT).map(drop)
            }
            Effect::Repeated(task) => {
                drop(task);
                Ok(())
            }
            Effect::Process(mut child) => {
                if let Some(pid) = child.id() {
                    signal(pid, libc::SIGTERM);
                }
                if tokio::time::timeout(self.stack.args.own.patience, child.wait()).await.is_err() {
                    child.kill().await.context("could not end the process")?;
                }
                Ok(())
            }
            // The watch takes it back; what was too well for that, or too early, goes now.
            Effect::Deployed(part, id) => match self.deploys.outcome(id).await {
                Some(State::Finished) => {
                    let back = self.deploys.roll_back(part.name())?;
                    self.deploys.outcome(back.id).await;
                    Ok(())
                }
                _ => Ok(()),
            },
            Effect::Told(url) => self.ask(self.client.delete(url)).await.map(drop),
            Effect::Network(ways) => {
                for way in ways {
                    self.ask(self.client.put(way).json(&json!({}))).await?;
                }
                Ok(())
            }
        }
    }

    fn freeze(&self, part: Part) -> anyhow::Result<Effect> {
        let stopped = self.stack.signal(part, libc::SIGSTOP)?;
        anyhow::ensure!(stopped > 0, "the {} does not run, so it cannot be stuck", part.name());
        Ok(Effect::Stopped(part))
    }

    async fn down(&self, part: Part) -> anyhow::Result<Effect> {
        if matches!(part, Part::Collector | Part::Query | Part::Load) {
            bail!(
                "the {} is what looks on; take a part of the product: core, jobs, analytics, broker, acquirer, receiver",
                part.name()
            );
        }
        let claim = self.stack.claim(part, "a fault that holds it down")?;
        self.stack.hold_down(part).await?;
        Ok(Effect::Down(part, claim))
    }

    fn pulses(&self, part: Part) -> anyhow::Result<Effect> {
        anyhow::ensure!(self.stack.runs(part), "the {} does not run, so it cannot be slow", part.name());
        let stack = self.stack.clone();
        let pulses = tokio::spawn(async move {
            while stack.signal(part, libc::SIGSTOP).is_ok() {
                tokio::time::sleep(PULSE_RESTS).await;
                let _ = stack.signal(part, libc::SIGCONT);
                tokio::time::sleep(PULSE_WORKS).await;
            }
        });
        Ok(Effect::Pulses(part, AbortOnDropHandle::new(pulses)))
    }

    /// A fault that the service does to itself, and ends in time by itself.
    async fn told(&self, part: Part, order: Value) -> anyhow::Result<Effect> {
        let url = format!("{}/internal/faults", self.url(part)?);
        self.ask(self.client.post(&url).json(&order)).await?;
        let target = order["target"].as_str().map(|target| format!("?target={target}")).unwrap_or_default();
        Ok(Effect::Told(format!("{url}{target}")))
    }

    async fn network(&self, network: Value) -> anyhow::Result<Effect> {
        let ways: Vec<_> = self
            .stack
            .args
            .ways()
            .into_iter()
            .filter(|way| self.stack.runs(way.part))
            .map(|way| format!("http://{}/internal/network", way.control))
            .collect();
        anyhow::ensure!(
            !ways.is_empty(),
            "no way is proxied; start `faultline up --proxied` for faults of the network"
        );
        for way in &ways {
            self.ask(self.client.put(way).json(&network)).await?;
        }
        Ok(Effect::Network(ways))
    }

    fn bad_deploy(&self, part: Part, time: Duration) -> anyhow::Result<Effect> {
        // What goes wrong with most bad deploys is a setting. Port 9 (discard): nobody listens.
        let (variable, value) = match part {
            Part::Jobs => ("FAULTLINE_WEBHOOK_URL", "http://127.0.0.1:9"),
            Part::Core => ("FAULTLINE_ACQUIRER_URL", "http://127.0.0.1:9"),
            _ => bail!("a bad version is there for jobs and core"),
        };
        let deploy = self.deploys.begin(deploy::Order {
            part: part.name().to_owned(),
            version: format!("{}-bad", env!("CARGO_PKG_VERSION")),
            environment: [(variable.to_owned(), value.to_owned())].into(),
            program: None,
            watch_s: time.as_secs(),
            lines: Lines::default(),
        })?;
        Ok(Effect::Deployed(part, deploy.id))
    }

    async fn poison(&self) -> anyhow::Result<Effect> {
        let setting = |id| self.stack.args.text(id);
        let (bootstrap_servers, topic_prefix) = (setting("bootstrap_servers"), Some(setting("topic_prefix")));
        let kafka = product_bus::KafkaArgs { bootstrap_servers, topic_prefix };
        product_bus::poison(&kafka, POISONED).await?;
        let repeated = tokio::spawn(async move {
            loop {
                tokio::time::sleep(POISON_EVERY).await;
                if let Err(error) = product_bus::poison(&kafka, POISONED).await {
                    tracing::warn!("could not send a malformed event: {error:#}");
                }
            }
        });
        Ok(Effect::Repeated(AbortOnDropHandle::new(repeated)))
    }

    /// A second crowd: people whom the first does not know, in the same ledger.
    fn herd(&self, time: Duration) -> anyhow::Result<Effect> {
        let usual = if self.stack.args.own.load > 0.0 { self.stack.args.own.load } else { RATE_DEFAULT };
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
        let mut launch = self.stack.launch(Part::Load, &Change::default())?;
        let replaced = |flag: &str| ["--rate=", "--herd=", "--seed="].iter().any(|own| flag.starts_with(own));
        launch.arguments.retain(|flag| !flag.to_str().is_some_and(replaced));
        launch.arguments.extend([
            format!("--rate={usual}").into(),
            format!("--herd={}", (usual * HERD_TIMES).ceil()).into(),
            format!("--seed={seed}").into(),
            format!("--for={}s", time.as_secs()).into(),
        ]);
        launch.log_file = self.stack.logs_dir().join("herd.log");
        self.process(launch)
    }

    /// `faultline product hog …`, on the CPUs of `part`.
    fn hog(&self, part: Part, what: &str, time: Duration) -> anyhow::Result<Effect> {
        let mut arguments: Vec<std::ffi::OsString> =
            vec!["product".into(), "hog".into(), what.into(), format!("--for={}s", time.as_secs()).into()];
        if matches!(what, "lock" | "sessions" | "slow-query") {
            // The database's URL comes by the variable of its part.
            arguments.push(format!("--data-dir={}", self.stack.args.data_dir().display()).into());
            arguments.push(format!("--database={}", part.name()).into());
        }
        arguments.push(format!("--metric-interval-ms={}", self.stack.args.observe.metric_interval_ms).into());
        arguments.extend(self.stack.observed());
        let launch = Launch {
            arguments,
            cpus: self.stack.args.cpus(part),
            log_file: self.stack.logs_dir().join("hog.log"),
            ..self.stack.launch(part, &Change::default())?
        };
        self.process(launch)
    }

    fn process(&self, launch: Launch) -> anyhow::Result<Effect> {
        let mut child = launch.spawn(None, None)?;
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep_output(stdout, stderr, launch.log_file));
        }
        Ok(Effect::Process(child))
    }

    fn url(&self, part: Part) -> anyhow::Result<String> {
        let url = self.stack.args.url(part).filter(|_| self.stack.runs(part));
        url.with_context(|| format!("the {} does not run", part.name()))
    }

    async fn is_inline(&self, concern: &str) -> bool {
        let url = format!("http://{}/internal/modes", self.stack.args.text("core_listen"));
        let modes = self.ask(self.client.get(url)).await.ok();
        modes.is_some_and(|modes| modes[concern]["mode"] == "inline")
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let token = self.stack.args.text("operator_token");
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let response = request.timeout(ANSWER_MAX).send().await?;
        let (status, url) = (response.status(), response.url().clone());
        let text = response.text().await?;
        anyhow::ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}
