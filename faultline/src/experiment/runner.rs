//! The experiment as it goes: the stack, the windows measured so far, and what they came to.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Args;
use super::counting::{self, Account, Counted, Intents};
use super::lab::{Lab, Settings};
use super::machine::Cores;
use super::phases::{claims, faults, knee, rollback, rounds, scaling, work};
use super::plan::{Phase, Plan};
use super::report::{Memory, ProcessMemory, Report};
use super::telemetry::Period;
use super::window::{self, Order, Unfit, WARM_UP, Window};
use crate::experiment::arm::Arm;
use crate::experiment::samples::Outcome;

/// For effects that retry topics still hold: their longest delay twice.
const EVIDENCE_PATIENCE: Duration = Duration::from_secs(60);
/// What lies between two windows, on average: drains, switches, questions. For the estimate of the time left.
const BETWEEN: Duration = Duration::from_secs(8);

pub(crate) struct Experiment {
    pub(crate) args: Args,
    pub(crate) plan: Plan,
    pub(crate) report: Report,
    pub(crate) windows: Vec<Window>,
    lab: Option<Lab>,
    started: Instant,
    /// Time of the windows that are still to come, as far as the plan knows.
    left: Duration,
    /// Everything acknowledged by the stack that runs now.
    account: Account,
    totals: Counted,
    uncounted: bool,
    /// The arm whose window was the last, when nothing of it is left to be done; none when that is not known.
    left_by: Option<Arm>,
}

impl Experiment {
    pub(crate) fn new(args: Args, plan: Plan, report: Report) -> Experiment {
        let left = plan.time_expected(BETWEEN + WARM_UP);
        Experiment {
            args,
            plan,
            report,
            windows: Vec::new(),
            lab: None,
            started: Instant::now(),
            left,
            account: Account::default(),
            totals: Counted::default(),
            uncounted: false,
            left_by: None,
        }
    }

    /// All phases of the plan; the report is written after each.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        self.start(true).await?;
        for phase in self.plan.phases.clone() {
            match phase {
                Phase::Knee => knee::run(self).await?,
                Phase::Rounds => self.rounds().await?,
                Phase::Faults => faults::run(self).await?,
                Phase::Rollback => rollback::run(self).await?,
                Phase::Scaling => scaling::run(self).await?,
                Phase::Sensitivity => self.sensitivity().await?,
            }
            self.write()?;
        }
        self.finish().await?;
        self.report.run.complete = true;
        self.write()
    }

    /// A fresh stack, on databases of its own.
    async fn start(&mut self, stub_latency: bool) -> anyhow::Result<()> {
        let settings = Settings {
            folder: self.stack_folder(stub_latency),
            port_offset: self.args.stack_ports,
            databases: self.args.database.clone(),
            bootstrap_servers: self.args.bootstrap_servers.clone(),
            stub_latency,
        };
        if settings.folder.exists() {
            std::fs::remove_dir_all(&settings.folder)
                .with_context(|| format!("could not empty {}", settings.folder.display()))?;
        }
        self.report.run.database = settings.databases.create().await?;
        self.say("starting the stack");
        let lab = Lab::start(settings, Cores::available()).await?;
        self.lab = Some(lab);
        self.left_by = None;
        // The order counts: parts started with all cores in sight and made as many threads.
        super::processes::pin(std::process::id(), &self.lab()?.parts.cores.others())
    }

    fn stack_folder(&self, stub_latency: bool) -> PathBuf {
        self.args.out.join(if stub_latency { "stack" } else { "stack-without-latency" })
    }

    /// Counts everything, then stops the stack. Its folder goes unless it is wanted.
    async fn finish(&mut self) -> anyhow::Result<()> {
        let Some(lab) = &self.lab else { return Ok(()) };
        // Whether all has arrived is for the evidence to say.
        lab.settle(EVIDENCE_PATIENCE).await?;
        match self.account.settle(lab, EVIDENCE_PATIENCE).await {
            Ok(counted) => {
                self.totals.lost += counted.lost;
                self.totals.doubled += counted.doubled;
                self.totals.repeats += counted.repeats;
                if lab.settings.stub_latency {
                    self.report.effects = counted.effects;
                }
            }
            Err(error) => {
                self.uncounted = true;
                self.report.run.notes.push(format!("lost and doubled are not known: {error:#}"));
            }
        }
        if !self.uncounted {
            self.report.lost = Some(self.totals.lost);
            self.report.doubled = Some(self.totals.doubled);
            self.report.repeats = Some(self.totals.repeats);
        }
        self.account = Account::default();
        self.stop().await
    }

    /// Ends the stack whatever happened before.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(lab) = self.lab.take() else { return Ok(()) };
        self.say("stopping the stack");
        let (folder, databases) = (lab.settings.folder.clone(), lab.settings.databases.clone());
        let last_words = lab.stop().await;
        if let Some(verdict) = last_words.iter().rev().find(|line| !line.trim().is_empty()) {
            self.report.run.notes.push(format!("the stack's own account when it ended: {}", verdict.trim()));
        }
        databases.remove().await?;
        if !self.args.keep_data {
            let data = folder.join("data");
            std::fs::remove_dir_all(&data).with_context(|| format!("could not remove {}", data.display()))?;
        }
        Ok(())
    }

    pub(crate) fn lab(&self) -> anyhow::Result<&Lab> {
        self.lab.as_ref().context("the stack does not run")
    }

    pub(crate) async fn measure(&mut self, order: Order) -> anyhow::Result<&Window> {
        self.measure_while(order, |_| std::future::ready(())).await.map(|(window, ())| window)
    }

    /// Measures a window while something is done beside it, which is told when the measured time begins.
    pub(crate) async fn measure_while<F>(
        &mut self,
        order: Order,
        during: impl FnOnce(i64) -> F,
    ) -> anyhow::Result<(&Window, F::Output)>
    where
        F: Future<Output: Send>,
    {
        let number = self.windows.len();
        self.say(&format!(
            "window {}, about {:.0} minutes left: {}, {}, {:.1}/s for {:.0} s",
            number + 1,
            self.left.as_secs_f64() / 60.0,
            order.purpose,
            order.arm,
            order.rate,
            order.time.as_secs_f64()
        ));
        self.left = self.left.saturating_sub(order.time + WARM_UP + BETWEEN);
        // What a monolith's window leaves are events for whoever is extracted next: of no concern to another monolith's.
        let settle = self.left_by.is_none_or(|left_by| order.arm.has_events() && !left_by.has_events());
        self.left_by = None;
        let (window, done) = window::measure(self.lab()?, number, order, settle, &self.args.limits, during).await?;
        self.left_by = (window.unfit != Some(Unfit::Undrained)).then_some(window.order.arm);
        let intents = self.acknowledged(&window)?;
        self.account.add(window.order.arm, intents);
        self.remember_memory(&window);
        let pay = window.samples.latency(super::PAY);
        let outcome = window.unfit.as_ref().map_or("counts".to_owned(), |why| format!("does not count: {why}"));
        self.say(&format!(
            "    {} requests, {} failed, p95 of creating a payment {:.0} ms; {outcome}",
            window.samples.len(),
            window.samples.count(Outcome::Failed),
            pay.p95_ms.unwrap_or(f64::NAN)
        ));
        self.report.windows.push(window.row());
        self.windows.push(window);
        Ok((&self.windows[number], done))
    }

    /// What core acknowledged in a window of the stack that runs now.
    pub(crate) fn acknowledged(&self, window: &Window) -> anyhow::Result<Intents> {
        counting::acknowledged(&self.lab()?.data_dir().join("product/ledger.jsonl"), &window.ledger)
    }

    pub(crate) async fn count(&mut self, account: &Account) -> anyhow::Result<Counted> {
        self.left_by = None;
        let lab = self.lab()?;
        let settled = lab.settle(EVIDENCE_PATIENCE).await?;
        let counted = account.settle(lab, EVIDENCE_PATIENCE).await?;
        self.left_by = settled.then_some(Arm::Events);
        Ok(counted)
    }

    async fn rounds(&mut self) -> anyhow::Result<()> {
        let knee =
            self.report.knee.iter().find(|found| found.arm == Arm::Inline).and_then(|found| found.knee.sustained);
        for (place, planned) in self.plan.rounds.clone().into_iter().enumerate() {
            let rate = knee.map_or(self.plan.rate * planned.load_pct / 50.0, |knee| knee * planned.load_pct / 100.0);
            let side = rounds::Side {
                what: match knee {
                    Some(_) => format!("{:.0} % of inline's knee", planned.load_pct),
                    None => "the given rate".to_owned(),
                },
                load_pct: knee.map(|_| planned.load_pct),
                rate,
                arms: planned.arms.to_vec(),
                rounds: planned.rounds,
                time: planned.time(rate),
            };
            let (comparison, windows) = rounds::run(self, &side).await?;
            if place == 0 {
                self.report.endpoints = rounds::headline(&comparison);
                self.report.comparisons.push(comparison);
                work::run(self, &windows).await?;
            } else {
                self.report.comparisons.push(comparison);
            }
            self.write()?;
        }
        Ok(())
    }

    /// The rate of the claim.
    pub(crate) fn rate(&self) -> f64 {
        self.report.comparisons.first().map_or(self.plan.rate, |comparison| comparison.rate)
    }

    async fn sensitivity(&mut self) -> anyhow::Result<()> {
        self.finish().await?;
        self.start(false).await?;
        let side = rounds::Side {
            what: "stubs without latency".to_owned(),
            load_pct: None,
            rate: self.rate(),
            arms: vec![Arm::Inline, Arm::Events],
            rounds: self.plan.sensitivity_rounds,
            time: self.plan.sensitivity_time,
        };
        let (comparison, _) = rounds::run(self, &side).await?;
        self.report.sensitivity = Some(comparison);
        Ok(())
    }

    fn remember_memory(&mut self, window: &Window) {
        let Memory { stack_bytes_max, processes } = &mut self.report.memory;
        let costs = &window.costs_after;
        let stack: u64 =
            costs.bytes.iter().filter(|(name, _)| costs.in_stack.contains(*name)).map(|(_, bytes)| bytes).sum();
        *stack_bytes_max = Some(stack_bytes_max.unwrap_or(0).max(stack));
        for (name, bytes) in &costs.bytes {
            match processes.iter_mut().find(|known| known.process == *name) {
                Some(known) => known.bytes_max = known.bytes_max.max(*bytes),
                None => processes.push(ProcessMemory {
                    process: name.clone(),
                    bytes_max: *bytes,
                    in_stack: costs.in_stack.contains(name),
                }),
            }
        }
    }

    /// All that is known so far, into the folder.
    pub(crate) fn write(&mut self) -> anyhow::Result<()> {
        self.report.run.seconds = self.started.elapsed().as_secs_f64();
        self.report.claims = claims::judge(&self.report);
        self.report.write(&self.args.out)
    }

    pub(crate) fn say(&self, line: &str) {
        super::say(&format!("{:>5} s  {line}", self.started.elapsed().as_secs()));
    }
}

/// From a moment on, for some seconds.
pub(crate) fn period(from_us: i64, seconds: f64) -> Period {
    Period { from_us, to_us: from_us + (seconds * 1e6) as i64 }
}
