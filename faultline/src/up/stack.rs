//! The running parts: started in the order of their needs, stopped in the order of the data's flow.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;

use super::accounting;
use super::effects::{self, Witness};
use super::part::Part;
use super::report::Report;
use super::say;
use super::settings::Args;
use super::supervisor::{self, Event, Launch, Supervised};

/// Folders of one run below the data folder.
const RUN: &str = "run";
const COUNTS: &str = "counts";

pub(crate) struct Stack {
    running: Vec<Supervised>,
    events: mpsc::Sender<Event>,
    run_dir: PathBuf,
    started: Instant,
    /// Parts that ended as they were told, and so left their counts.
    clean: usize,
    unclean: u32,
}

impl Stack {
    /// Nothing is started before every port is known to be free.
    pub(crate) async fn new(args: &Args, events: mpsc::Sender<Event>) -> anyhow::Result<Stack> {
        for part in args.started() {
            supervisor::check_ports(part, &args.parts).await?;
        }
        let run_dir = args.data_dir().join(RUN);
        let counts = run_dir.join(COUNTS);
        if counts.exists() {
            std::fs::remove_dir_all(&counts).with_context(|| format!("could not empty {}", counts.display()))?;
        }
        let stack = Stack { running: Vec::new(), events, run_dir, started: Instant::now(), clean: 0, unclean: 0 };
        for folder in [stack.counts_dir(), stack.logs_dir()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        }
        Ok(stack)
    }

    /// Our own telemetry goes to our own collector and is counted with the parts'.
    pub(crate) fn observe_args(&self, args: &Args) -> observe::Args {
        observe::Args {
            counts_dir: Some(self.counts_dir()),
            otlp_endpoint: Some(otlp_endpoint(args)),
            ..args.observe.clone()
        }
    }

    /// Ours alone: a part of an `up` that was killed may still leave its own.
    fn counts_dir(&self) -> PathBuf {
        self.run_dir.join(COUNTS).join(std::process::id().to_string())
    }

    fn logs_dir(&self) -> PathBuf {
        self.run_dir.join("logs")
    }

    pub(crate) async fn start(&mut self, args: &Args, mut report: impl FnMut(Part)) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("could not find our own program")?;
        for part in args.started() {
            let mut arguments = part.command_line(&args.parts);
            arguments.push(format!("--counts-dir={}", self.counts_dir().display()).into());
            if args.observe.otlp_endpoint.is_none() {
                arguments.push(format!("--otlp-endpoint={}", otlp_endpoint(args)).into());
            }
            if part == Part::Load {
                arguments.push(format!("--rate={}", args.own.load).into());
            }
            let launch = Launch {
                program: program.clone(),
                arguments,
                log_file: self.logs_dir().join(format!("{}.log", part.name())),
                patience: args.own.patience,
            };
            self.running.push(Supervised::start(part, launch, self.events.clone())?);
            let started = self.running.last().expect("just pushed");
            supervisor::ready(started, &args.parts, args.own.patience).await?;
            report(part);
        }
        Ok(())
    }

    /// Stops what runs without an account: the start failed.
    pub(crate) async fn abandon(mut self) {
        for part in Part::STOP_ORDER {
            self.stop(part).await;
        }
    }

    /// Customers first; then every event may arrive; then the services, then whoever keeps what they said.
    pub(crate) async fn wind_down(mut self, args: &Args, telemetry: observe::Telemetry) -> anyhow::Result<Report> {
        let mut report = Report::default();
        say("stopping the customers, then waiting for every event to arrive");
        self.stop(Part::Load).await;
        match self.settle(args, args.own.drain_max).await {
            Ok(effects) => report.effects = effects,
            Err(error) => report.unknown.push(format!("what became of the payments: {error:#}")),
        }
        say("stopping the product, then the platform");
        for part in Part::STOP_ORDER {
            if part == Part::Collector {
                break;
            }
            self.stop(part).await;
        }
        telemetry.shutdown().await;
        self.stop(Part::Collector).await;
        report.uncounted = self.unclean;
        match self.account(args).await {
            Ok(signals) => report.signals = signals,
            Err(error) => report.unknown.push(format!("what is stored: {error:#}")),
        }
        Ok(report)
    }

    async fn stop(&mut self, part: Part) {
        while let Some(place) = self.running.iter().position(|running| running.part == part) {
            let ended = self.running.remove(place).stop().await;
            self.unclean += ended.unclean;
            self.clean += usize::from(ended.counted);
        }
    }

    async fn settle(&self, args: &Args, patience: Duration) -> anyhow::Result<Vec<effects::Tally>> {
        if !self.running.iter().any(|running| running.part == Part::Analytics) {
            return Ok(Vec::new());
        }
        let witness =
            |effect, listen| Witness { effect, url: format!("http://{}/internal/effects", args.text(listen)) };
        let witnesses = [
            witness("receipt", "jobs_listen"),
            witness("webhook", "receiver_listen"),
            witness(effects::PROJECTION, "analytics_listen"),
        ];
        effects::settle(&args.data_dir().join("product/ledger.jsonl"), &witnesses, patience).await
    }

    async fn account(&self, args: &Args) -> anyhow::Result<Vec<accounting::Row>> {
        let counts = accounting::read_counts(&self.counts_dir())?;
        let (left, expected) = (counts.len(), self.clean + 1);
        anyhow::ensure!(left >= expected, "{expected} processes ended well, but {left} left their counts");
        accounting::compare(args.query.clone(), &counts, self.started.elapsed()).await
    }
}

/// The collector of this stack unless another is named.
fn otlp_endpoint(args: &Args) -> String {
    args.observe.otlp_endpoint.clone().unwrap_or_else(|| format!("http://{}", args.text("otlp_grpc")))
}
