//! The running parts: started in the order of their needs, stopped in the order of the data's flow, and in between held down,
//! let up again or replaced by another version.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use tokio::sync::mpsc;

use super::launch::Launch;
use super::part::Part;
use super::ready::{self, Readiness};
use super::settings::Args;
use super::sockets;
use super::supervisor::{self, Event, Supervised};

/// Folders of one run below the data folder.
const RUN: &str = "run";
const COUNTS: &str = "counts";
/// The setting of `observe` that may hold a token.
const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

pub(crate) struct Stack {
    pub(crate) args: Args,
    events: mpsc::Sender<Event>,
    run_dir: PathBuf,
    pub(crate) started: Instant,
    places: Mutex<BTreeMap<Part, Place>>,
    sums: Mutex<Sums>,
    instances: AtomicU32,
}

/// Where a part runs: one instance, two while a deploy replaces it, none while it is held down.
#[derive(Default)]
struct Place {
    socket: Option<Arc<TcpListener>>,
    instances: Vec<Supervised>,
    /// What it was held down with, to be started again.
    down: Option<Launch>,
    /// Who changes it at the moment: nobody else may.
    claim: Option<String>,
}

/// How the processes ended so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// Ended as they were told, and so left their counts.
    pub(crate) counted: usize,
    pub(crate) unclean: u32,
}

/// How an instance differs from what `up` was told: a deploy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) version: String,
    /// Variables, which win over the settings of the same name.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) program: Option<PathBuf>,
}

/// A part as the control interface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    part: &'static str,
    state: &'static str,
    addresses: Vec<SocketAddr>,
    instances: Vec<ShownInstance>,
}

#[derive(Debug, Serialize)]
struct ShownInstance {
    pid: Option<u32>,
    version: String,
}

impl Stack {
    /// Nothing is started before every port is known to be free.
    pub(crate) async fn new(args: Args, events: mpsc::Sender<Event>) -> anyhow::Result<Stack> {
        if args.observe.otlp_endpoint.is_none() && !args.text("otlp_tls_cert").is_empty() {
            bail!(
                "the parts of `up` send their telemetry in the clear, so --otlp-tls-cert does not go with it; \
                 run `faultline collector` with it by itself"
            );
        }
        let mut places = BTreeMap::new();
        for part in args.started() {
            places.insert(part, Place { socket: sockets::claim(part, &args).await?, ..Place::default() });
        }
        let run_dir = args.data_dir().join(RUN);
        let counts = run_dir.join(COUNTS);
        if counts.exists() {
            std::fs::remove_dir_all(&counts).with_context(|| format!("could not empty {}", counts.display()))?;
        }
        let stack = Stack {
            args,
            events,
            run_dir,
            started: Instant::now(),
            places: Mutex::new(places),
            sums: Mutex::default(),
            instances: AtomicU32::new(0),
        };
        for folder in [stack.counts_dir(), stack.logs_dir()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        }
        Ok(stack)
    }

    /// Our own telemetry goes to our own collector and is counted with the parts'.
    pub(crate) fn observe_args(&self) -> observe::Args {
        observe::Args {
            counts_dir: Some(self.counts_dir()),
            otlp_endpoint: Some(self.otlp_endpoint()),
            otlp_headers: self.args.otlp_headers(),
            ..self.args.observe.clone()
        }
    }

    /// Ours alone: a part of an `up` that was killed may still leave its own.
    pub(crate) fn counts_dir(&self) -> PathBuf {
        self.run_dir.join(COUNTS).join(std::process::id().to_string())
    }

    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.run_dir.join("logs")
    }

    /// The collector of this stack unless another is named.
    fn otlp_endpoint(&self) -> String {
        let named = self.args.observe.otlp_endpoint.clone();
        named.unwrap_or_else(|| format!("http://{}", self.args.text("otlp_grpc")))
    }

    pub(crate) async fn start(&self, mut report: impl FnMut(Part)) -> anyhow::Result<()> {
        for part in self.args.started() {
            self.launch_in(part, self.launch(part, &Change::default())?)?;
            self.ready(part).await?;
            report(part);
        }
        Ok(())
    }

    /// How a part is started with the settings of `up` and a change to them.
    pub(crate) fn launch(&self, part: Part, change: &Change) -> anyhow::Result<Launch> {
        let changed = |variable: &OsStr| {
            let named = change.environment.iter().any(|(name, _)| variable == name.as_str());
            named || (!change.version.is_empty() && variable == "FAULTLINE_SERVICE_VERSION")
        };
        let mut arguments = part.command_line(&self.args.parts, changed);
        arguments.extend(self.observed());
        if part == Part::Load {
            arguments.push(format!("--rate={}", self.args.own.load).into());
        }
        for way in self.args.ways() {
            if way.part == part {
                arguments.extend([
                    format!("--proxy-listen={}", way.listen).into(),
                    format!("--proxy-target={}", way.target).into(),
                    format!("--proxy-control={}", way.control).into(),
                ]);
            }
            let start = format!("{}=", way.flag);
            let goes_there = |flag: &OsString| flag.to_str().is_some_and(|flag| flag.starts_with(&start));
            if let Some(place) = arguments.iter().position(goes_there) {
                arguments[place] = format!("{}={}", way.flag, way.detour).into();
            }
        }
        let version = if change.version.is_empty() {
            self.args.observe.service_version.clone()
        } else {
            arguments.push(format!("--service-version={}", change.version).into());
            change.version.clone()
        };
        Ok(Launch {
            program: match &change.program {
                Some(program) => program.clone(),
                None => std::env::current_exe().context("could not find our own program")?,
            },
            arguments,
            environment: self.environment(part).chain(change.environment.clone()).collect(),
            version,
            log_file: self.logs_dir().join(format!("{}.log", part.name())),
            patience: self.args.own.patience,
            cpus: self.args.cpus(part),
        })
    }

    /// What no list of processes may show.
    fn environment(&self, part: Part) -> impl Iterator<Item = (String, String)> {
        let headers = self.args.otlp_headers().map(|headers| (OTLP_HEADERS.to_owned(), headers));
        part.secrets(&self.args.parts).into_iter().chain(headers)
    }

    /// Flags by which a process joins the account of this run.
    pub(crate) fn observed(&self) -> Vec<OsString> {
        let mut flags = vec![format!("--counts-dir={}", self.counts_dir().display()).into()];
        if self.args.observe.otlp_endpoint.is_none() {
            flags.push(format!("--otlp-endpoint={}", self.otlp_endpoint()).into());
        }
        flags
    }

    /// One more instance of the part, on the port that is held for it.
    fn launch_in(&self, part: Part, launch: Launch) -> anyhow::Result<()> {
        let mut places = self.places();
        let place = places.get_mut(&part).with_context(|| not_here(part))?;
        let number = self.instances.fetch_add(1, Relaxed);
        let readiness = match &place.socket {
            Some(_) => Some(Readiness::at(self.run_dir.join(format!("ready-{number}.sock")))?),
            None => None,
        };
        place.instances.push(Supervised::start(part, launch, place.socket.clone(), readiness, self.events.clone())?);
        Ok(())
    }

    /// Waits until the newest instance serves.
    async fn ready(&self, part: Part) -> anyhow::Result<()> {
        let addresses: Vec<_> = self.args.addresses(part).into_iter().map(|(_, address)| address).collect();
        let waiting = self.with_newest(part, ready::watch)?;
        waiting.until(&addresses).await
    }

    /// Starts `launch` beside what runs, waits until it serves, and only then lets the old one finish and end. When the new one
    /// does not come up, the old one is left as it is. `told` hears of each step.
    pub(crate) async fn replace(&self, part: Part, launch: Launch, told: impl Fn(&str)) -> anyhow::Result<()> {
        self.launch_in(part, launch)?;
        told("started beside the old one");
        let failed = self.with_newest(part, Supervised::failed)?;
        let up = tokio::select! {
            up = self.ready(part) => up,
            () = failed => Err(anyhow::anyhow!("the new {} ended at once", part.name())),
        };
        if let Err(error) = up {
            self.stop_instances(part, |instances| instances.split_off(instances.len() - 1)).await;
            let log = self.logs_dir().join(format!("{}.log", part.name()));
            return Err(error.context(format!("the last lines of {} say why", log.display())));
        }
        told("serves, the old one drains");
        self.stop_instances(part, |instances| instances.drain(..instances.len() - 1).collect()).await;
        told("the old one has ended");
        Ok(())
    }

    /// Stops the part and leaves it so; its port is given back, so that callers are refused at once.
    pub(crate) async fn hold_down(&self, part: Part) -> anyhow::Result<()> {
        {
            let mut places = self.places();
            let place = places.get_mut(&part).with_context(|| not_here(part))?;
            let newest = place.instances.last().with_context(|| format!("the {} does not run", part.name()))?;
            place.down = Some(newest.launch.clone());
            place.socket = None;
        }
        self.stop_instances(part, std::mem::take).await;
        Ok(())
    }

    /// The end of `hold_down`.
    pub(crate) async fn let_up(&self, part: Part) -> anyhow::Result<()> {
        let Some(launch) = self.places().get_mut(&part).and_then(|place| place.down.take()) else { return Ok(()) };
        let socket = sockets::claim(part, &self.args).await?;
        if let Some(place) = self.places().get_mut(&part) {
            place.socket = socket;
        }
        self.launch_in(part, launch)?;
        self.ready(part).await
    }

    /// Sends a signal to every process of the part; says to how many.
    pub(crate) fn signal(&self, part: Part, signal: i32) -> anyhow::Result<usize> {
        let places = self.places();
        let place = places.get(&part).with_context(|| not_here(part))?;
        let pids: Vec<_> = place.instances.iter().filter_map(Supervised::pid).collect();
        pids.iter().for_each(|pid| supervisor::signal(*pid, signal));
        Ok(pids.len())
    }

    /// Nobody else may replace or hold down the part while the guard lives.
    pub(crate) fn claim(self: &Arc<Self>, part: Part, by: &str) -> anyhow::Result<Claim> {
        let mut places = self.places();
        let place = places.get_mut(&part).with_context(|| not_here(part))?;
        if let Some(other) = &place.claim {
            bail!("{other} is under way at the {}; wait for it, or end it first", part.name());
        }
        place.claim = Some(by.to_owned());
        Ok(Claim { stack: self.clone(), part })
    }

    /// Process id and launch of the newest instance.
    pub(crate) fn newest(&self, part: Part) -> anyhow::Result<(u32, Launch)> {
        let (pid, launch) = self.with_newest(part, |newest| (newest.pid(), newest.launch.clone()))?;
        Ok((pid.with_context(|| format!("the {} is between two lives", part.name()))?, launch))
    }

    /// Over when the newest instance ends and nobody has asked it to.
    pub(crate) fn failed(&self, part: Part) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
        self.with_newest(part, Supervised::failed)
    }

    fn with_newest<T>(&self, part: Part, read: impl FnOnce(&Supervised) -> T) -> anyhow::Result<T> {
        let places = self.places();
        let newest = places.get(&part).with_context(|| not_here(part))?.instances.last();
        newest.map(read).with_context(|| format!("the {} does not run", part.name()))
    }

    pub(crate) fn runs(&self, part: Part) -> bool {
        self.places().get(&part).is_some_and(|place| !place.instances.is_empty())
    }

    pub(crate) fn shown(&self) -> Vec<Shown> {
        let places = self.places();
        let show = |(part, place): (&Part, &Place)| Shown {
            part: part.name(),
            state: match (&place.down, place.instances.len()) {
                (Some(_), _) => "held down",
                (None, 0) => "stopped",
                (None, 1) => "running",
                (None, _) => "being replaced",
            },
            addresses: self.args.addresses(*part).into_iter().map(|(_, address)| address).collect(),
            instances: place
                .instances
                .iter()
                .map(|instance| ShownInstance { pid: instance.pid(), version: instance.launch.version.clone() })
                .collect(),
        };
        places.iter().map(show).collect()
    }

    /// Ends every instance of the part.
    pub(crate) async fn stop(&self, part: Part) {
        self.stop_instances(part, std::mem::take).await;
    }

    /// Stops what runs without an account: the start failed.
    pub(crate) async fn abandon(&self) {
        for part in Part::STOP_ORDER {
            self.stop(part).await;
        }
    }

    pub(crate) fn sums(&self) -> Sums {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stop_instances(&self, part: Part, which: impl FnOnce(&mut Vec<Supervised>) -> Vec<Supervised>) {
        let stopping = self.places().get_mut(&part).map(|place| which(&mut place.instances)).unwrap_or_default();
        for instance in stopping {
            let ended = instance.stop().await;
            let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
            sums.unclean += ended.unclean;
            sums.counted += usize::from(ended.counted);
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Part, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to change a part, given back at its end.
pub(crate) struct Claim {
    stack: Arc<Stack>,
    part: Part,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(place) = self.stack.places().get_mut(&self.part) {
            place.claim = None;
        }
    }
}

fn not_here(part: Part) -> String {
    format!("`up` does not run the {} here", part.name())
}

/// A part by the name that is typed.
pub(crate) fn part_named(name: &str) -> anyhow::Result<Part> {
    Part::from_str(name, true).map_err(|_| {
        let known: Vec<_> = Part::START_ORDER.iter().map(|part| part.name()).collect();
        anyhow::anyhow!("there is no part {name:?}; there are {}", known.join(", "))
    })
}
