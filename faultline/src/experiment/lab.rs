//! The stack under test: one `faultline up` of our own, its processes, and the switches that make an arm of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, ChildStdin};
use tokio::task::JoinHandle;

use super::arm::Arm;
use super::databases::Databases;
use super::machine::Cores;
use super::parts::Parts;
use super::processes;
use super::switches::{CONCERNS, FaultSwitch, Orders};
use super::telemetry::{Lag, Telemetry};
use crate::up::{Launch, keep_output, signal};

/// Metrics of the stack every so often: how soon we see that nothing waits any more.
const METRIC_INTERVAL: Duration = Duration::from_millis(500);
/// A consumer's lag is at most this old when it is exported: librdkafka's statistics and the commit they refer to, a second
/// each, and the export.
const LAG_AGE_MAX: Duration = Duration::from_millis(2_500);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Nine processes on two busy cores.
const START_MAX: Duration = Duration::from_secs(90);
/// `up` waits for its own drain and parts; after that it is killed.
const STOP_MAX: Duration = Duration::from_secs(120);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a stack is started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) folder: PathBuf,
    pub(crate) port_offset: u16,
    pub(crate) databases: Databases,
    pub(crate) bootstrap_servers: Option<String>,
    /// Whether acquirer, mail and webhooks answer with the latencies that are assumed of them, or at once.
    pub(crate) stub_latency: bool,
}

impl Settings {
    fn broker_port(&self) -> Option<u16> {
        let first = self.bootstrap_servers.as_deref()?.split(',').next()?;
        first.rsplit_once(':')?.1.parse().ok()
    }
}

/// How events that were on their way arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// What waited at first.
    pub(crate) backlog: f64,
    /// None: not all arrived as long as we had patience.
    pub(crate) after: Option<Duration>,
}

pub(crate) struct Lab {
    pub(crate) settings: Settings,
    pub(crate) telemetry: Telemetry,
    pub(crate) parts: Parts,
    up: Child,
    /// Waiting for a child closes its stdin, which tells `up` that we are gone: it is held here until that is true.
    lifeline: Option<ChildStdin>,
    output: JoinHandle<Vec<String>>,
    http: reqwest::Client,
    /// The most that each service has looked at.
    partitions: Mutex<BTreeMap<String, u64>>,
    /// By setting: `core-listen`.
    addresses: BTreeMap<String, String>,
}

impl Lab {
    pub(crate) async fn start(settings: Settings, cores: Cores) -> anyhow::Result<Lab> {
        std::fs::create_dir_all(&settings.folder)
            .with_context(|| format!("could not create {}", settings.folder.display()))?;
        let log_file = settings.folder.join("up.log");
        let launch = Launch {
            program: std::env::current_exe().context("could not find our own program")?,
            arguments: arguments(&settings).into_iter().map(Into::into).collect(),
            environment: settings.databases.environment(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log_file: log_file.clone(),
            patience: STOP_MAX,
            cpus: None,
        };
        let mut up = launch.spawn(None, None)?;
        let (stdout, stderr, lifeline) = (up.stdout.take(), up.stderr.take(), up.stdin.take());
        let (Some(stdout), Some(stderr), Some(up_pid)) = (stdout, stderr, up.id()) else {
            bail!("`faultline up` has no output or no process id");
        };
        let output = tokio::spawn(keep_output(stdout, stderr, log_file));
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).build().context("could not make an HTTP client")?;
        let addresses = match wait_until_up(&mut up, up_pid, &http).await {
            Ok(addresses) => addresses,
            Err(error) => {
                signal(up_pid, libc::SIGTERM);
                let _ = tokio::time::timeout(STOP_MAX, up.wait()).await;
                drop(up);
                return Err(
                    error.context(format!("`faultline up` said:\n{}", output.await.unwrap_or_default().join("\n")))
                );
            }
        };
        let query = addresses.get("query-listen").context("`up` started no query node")?;
        let telemetry = Telemetry::new(query)?;
        let beside = [("postgres", settings.databases.port()), ("kafka", settings.broker_port())];
        let servers = beside.into_iter().filter_map(|(name, port)| Some((name, port?))).collect();
        let parts = Parts { cores, up_pid, servers };
        Ok(Lab { settings, telemetry, parts, up, lifeline, output, http, partitions: Mutex::default(), addresses })
    }

    /// Stops everything in order. The account of `up` is its last words.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        signal(self.parts.up_pid, libc::SIGTERM);
        if tokio::time::timeout(STOP_MAX, self.up.wait()).await.is_err() {
            let _ = self.up.kill().await;
        }
        drop((self.up, self.lifeline));
        self.output.await.unwrap_or_default()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        data_dir(&self.settings.folder)
    }

    /// `http://127.0.0.1:27001` of `core-listen`.
    pub(crate) fn url(&self, setting: &str) -> anyhow::Result<String> {
        let address = self.addresses.get(setting).with_context(|| format!("no part of the stack has --{setting}"))?;
        Ok(format!("http://{address}"))
    }

    pub(crate) fn faults(&self) -> FaultSwitch {
        FaultSwitch { data_dir: self.data_dir() }
    }

    /// Addresses of this stack's parts by the names of the parts.
    pub(crate) fn with_names(&self, text: &str) -> String {
        let named = |text: String, (setting, address): (&String, &String)| {
            text.replace(address.as_str(), setting.trim_end_matches("-listen"))
        };
        self.addresses.iter().fold(text.to_owned(), named)
    }

    /// Makes the stack this arm: modes by core's switch, cores by affinity. New processes start on the cores of their parent.
    pub(crate) async fn enter(&self, arm: Arm) -> anyhow::Result<()> {
        let (jobs, analytics) = arm.modes();
        let orders = self.orders()?;
        orders.one("jobs", jobs).await?;
        orders.one("analytics", analytics).await?;
        self.parts.pin(arm)
    }

    pub(crate) fn orders(&self) -> anyhow::Result<Orders> {
        Ok(Orders { http: self.http.clone(), url: format!("{}/internal/modes", self.url("core-listen")?) })
    }

    /// Lets everything that is still on its way arrive, whoever it was left to. False: not all of it, as far as is known.
    pub(crate) async fn settle(&self, patience: Duration) -> anyhow::Result<bool> {
        self.orders()?.all("events").await?;
        Ok(self.drained(patience).await?.after.is_some())
    }

    /// Waits until the outbox is empty and no consumer has anything left to take.
    pub(crate) async fn drained(&self, patience: Duration) -> anyhow::Result<Drained> {
        let started = Instant::now();
        let mut backlog = None;
        loop {
            let (pending, lag) = (self.outbox_pending().await? as f64, self.lag().await?);
            let backlog = *backlog.get_or_insert(pending + lag.unwrap_or(0.0));
            if pending == 0.0 && lag == Some(0.0) {
                return Ok(Drained { backlog, after: Some(started.elapsed()) });
            }
            if started.elapsed() > patience {
                return Ok(Drained { backlog, after: None });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn outbox_pending(&self) -> anyhow::Result<u64> {
        #[derive(serde::Deserialize)]
        struct Outbox {
            pending: u64,
        }
        let url = format!("{}/internal/outbox", self.url("core-listen")?);
        let answer = self.http.get(url).send().await?.error_for_status()?;
        Ok(answer.json::<Outbox>().await.context("core does not tell what waits in its outbox")?.pending)
    }

    /// Events that both services together have yet to take, by what they say of the time after this call. None while one of
    /// them says nothing, or does not look at all of its partitions: a group that is given them anew knows of no lag.
    pub(crate) async fn lag(&self) -> anyhow::Result<Option<f64>> {
        let since_us = now_us() + LAG_AGE_MAX.as_micros() as i64;
        let deadline = Instant::now() + 2 * LAG_AGE_MAX;
        loop {
            let said = self.telemetry.lag(since_us).await?;
            let whole =
                |concern: &&str| said.iter().find(|lag| lag.service == **concern).filter(|lag| self.is_whole(lag));
            let known: Option<Vec<&Lag>> = CONCERNS.iter().map(whole).collect();
            if let Some(known) = known {
                return Ok(Some(known.iter().map(|lag| lag.lag).sum()));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_whole(&self, lag: &Lag) -> bool {
        let mut most = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let most = most.entry(lag.service.clone()).or_default();
        *most = lag.partitions.max(*most);
        lag.partitions == *most
    }
}

fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn arguments(settings: &Settings) -> Vec<String> {
    let mut arguments = vec![
        format!("--port-offset={}", settings.port_offset),
        "up".to_owned(),
        "--no-tui".to_owned(),
        "--load=0".to_owned(),
        format!("--data-dir={}", data_dir(&settings.folder).display()),
        format!("--metric-interval-ms={}", METRIC_INTERVAL.as_millis()),
        // Nobody reads its lines, and each is a question to the query node.
        "--status-every=24h".to_owned(),
    ];
    arguments.extend(settings.bootstrap_servers.iter().map(|servers| format!("--bootstrap-servers={servers}")));
    if !settings.stub_latency {
        arguments.extend(["acquirer", "webhook", "mail"].map(|stub| format!("--{stub}-latency-median-ms=0")));
    }
    arguments
}

/// Until the last service answers; then every part has its address in its command line.
async fn wait_until_up(
    up: &mut Child,
    up_pid: u32,
    http: &reqwest::Client,
) -> anyhow::Result<BTreeMap<String, String>> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Some(status) = up.try_wait().context("could not ask after `faultline up`")? {
            bail!("`faultline up` ended at once: {status}");
        }
        let addresses: BTreeMap<String, String> =
            processes::tree(up_pid).into_iter().flat_map(|pid| listens(&processes::command_line(pid))).collect();
        if healthy(http, &addresses, "analytics-listen").await && healthy(http, &addresses, "core-listen").await {
            return Ok(addresses);
        }
        if Instant::now() > deadline {
            bail!("the stack was not up after {START_MAX:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn healthy(http: &reqwest::Client, addresses: &BTreeMap<String, String>, setting: &str) -> bool {
    let Some(address) = addresses.get(setting) else { return false };
    let answer = http.get(format!("http://{address}/health")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// `--core-listen=127.0.0.1:27001` as (core-listen, 127.0.0.1:27001).
fn listens(words: &[String]) -> Vec<(String, String)> {
    let flags = words.iter().filter_map(|word| word.strip_prefix("--")?.split_once('='));
    let listens = flags.filter(|(name, _)| name.ends_with("-listen"));
    listens.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(crate) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_command_line() {
        let found = listens(&["product", "core", "--core-listen=127.0.0.1:27001", "--data-dir=/x"].map(str::to_owned));
        assert_eq!(found, [("core-listen".to_owned(), "127.0.0.1:27001".to_owned())]);
    }
}
